/** An identity for each service account, as clusters have it, with all that is looked at. */
export const BY_TEMPLATE = {
  apiVersion: 'spire.spiffe.io/v1alpha1',
  kind: 'ClusterSPIFFEID',
  metadata: { name: 'web' },
  spec: {
    spiffeIDTemplate:
      'spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}',
    dnsNameTemplates: ['{{ .PodMeta.Name }}.{{ .PodMeta.Namespace }}.svc'],
    podSelector: { matchLabels: { app: 'web' } },
    namespaceSelector: { matchLabels: { team: 'shop' } },
  },
};
