{{- define "credence.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end -}}

{{/* Labels of every object; the argument is the name of the part. */}}
{{- define "credence.labels" -}}
app.kubernetes.io/name: {{ . }}
app.kubernetes.io/part-of: credence
{{- end -}}

{{/* The daemon's configuration: what the chart decides, under what `settings` says. */}}
{{- define "credence.config" -}}
{{- $ca := "/etc/credence-ca" -}}
{{- $decided := dict
  "trust_domain" .Values.trustDomain
  "socket_path" (printf "%s/api.sock" .Values.socketDir)
  "admin_socket_path" (printf "%s/private/admin.sock" .Values.dataDir)
  "data_dir" (printf "%s/data" .Values.dataDir)
  "policy" (dict "paths" (list "/etc/credence-policy"))
  "attestation" (dict "kubernetes" (dict "enabled" true))
  "issuer" (dict "upstream" (dict
    "type" "disk"
    "cert_file" (printf "%s/tls.crt" $ca)
    "key_file" (printf "%s/tls.key" $ca)
    "bundle_file" (printf "%s/ca.crt" $ca)))
  "telemetry" (dict "metrics_address" "0.0.0.0:9464")
-}}
{{- mergeOverwrite $decided (deepCopy .Values.settings) | toYaml -}}
{{- end -}}

{{/* Pull policy and secrets are left out where nothing is said. */}}
{{- define "credence.pullPolicy" -}}
{{- with .Values.image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
{{- end -}}
