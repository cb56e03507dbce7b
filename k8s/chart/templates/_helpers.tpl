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
{{- $policy := dict "paths" (list "/etc/credence-policy") -}}
{{- if .Values.clusterIds.enabled -}}
{{- $kubernetes := dict "enabled" true "write_status" .Values.clusterIds.writeStatus -}}
{{- $lease := printf "%s/credence-status" .Release.Namespace -}}
{{- $_ := set $policy "kubernetes" (set $kubernetes "status_lease" $lease) -}}
{{- end -}}
{{- $decided := dict
  "trust_domain" .Values.trustDomain
  "socket_path" (printf "%s/api.sock" .Values.socketDir)
  "admin_socket_path" (printf "%s/private/admin.sock" .Values.dataDir)
  "data_dir" (printf "%s/data" .Values.dataDir)
  "policy" $policy
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

{{/* The Job that makes the CA: a part of its name, so that a changed one is another one. */}}
{{- define "credence.caJob" -}}
backoffLimit: 10
activeDeadlineSeconds: 300
ttlSecondsAfterFinished: 60
template:
  metadata:
    labels: { app.kubernetes.io/name: credence-ca }
  spec:
    serviceAccountName: credence-ca
    restartPolicy: OnFailure
    enableServiceLinks: false
    {{- with .Values.tolerations }}
    tolerations: {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with .Values.imagePullSecrets }}
    imagePullSecrets: {{- toYaml . | nindent 6 }}
    {{- end }}
    nodeSelector:
      kubernetes.io/os: linux
      {{- with .Values.nodeSelector }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    securityContext:
      runAsNonRoot: true
      runAsUser: 65532
      runAsGroup: 65532
      seccompProfile: { type: RuntimeDefault }
    containers:
      - name: create
        image: {{ include "credence.image" . }}
        {{- include "credence.pullPolicy" . | nindent 8 }}
        command:
          - /usr/bin/credence
          - ca
          - create
          - --config=/etc/credence/credence.yaml
          - --secret={{ .Release.Namespace }}/{{ .Values.ca.secretName }}
        env:
          # Part of the configuration, though not of what this reads.
          - name: CREDENCE_ATTESTATION_KUBERNETES_NODE_NAME
            valueFrom: { fieldRef: { fieldPath: spec.nodeName } }
        resources:
          requests: { cpu: 10m, memory: 64Mi }
          limits: { memory: 256Mi }
        securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          capabilities: { drop: [ALL] }
        volumeMounts:
          - { name: config, mountPath: /etc/credence, readOnly: true }
    volumes:
      - name: config
        configMap: { name: credence-config }
{{- end -}}

{{/* Pull policy and secrets are left out where nothing is said. */}}
{{- define "credence.pullPolicy" -}}
{{- with .Values.image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
{{- end -}}
