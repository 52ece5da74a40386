{{/* What the chart's objects are called. */}}
{{- define "thalweg.name" -}}
{{- if contains "thalweg" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-thalweg{{ end }}-operator
{{- end }}

{{- define "thalweg.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "thalweg.name" .) }}
{{- end }}

{{- define "thalweg.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "thalweg.selector" -}}
app.kubernetes.io/name: thalweg-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "thalweg.labels" -}}
{{ include "thalweg.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* Kinds that the API server does not know can't be installed in the same release as their definitions. */}}
{{- define "thalweg.needsKinds" -}}
{{- if not (.Capabilities.APIVersions.Has "thalweg.dev/v1alpha1/Cluster") }}
{{- fail "the kinds Cluster and SpuGroup are not known to this Kubernetes yet: install the chart without `cluster` and `spuGroups` first and give them to `helm upgrade`, or run `kubectl apply --server-side -f k8s/crds` before (with `helm template`, add --api-versions thalweg.dev/v1alpha1/Cluster)" }}
{{- end }}
{{- end }}
