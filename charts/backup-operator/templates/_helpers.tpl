{{- define "backup-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "backup-operator.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "backup-operator.labels" -}}
{{ include "backup-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "backup-operator.serviceAccount" -}}
{{- default (include "backup-operator.fullname" .) (.Values.serviceAccount | default dict).name -}}
{{- end -}}

{{- define "backup-operator.image" -}}
{{- $tag := default .chart.AppVersion .image.tag -}}
{{- printf "%s%s%s" .image.repository (ternary "@" ":" (hasPrefix "sha256:" $tag)) $tag -}}
{{- end -}}

{{- /* The Lease lies in a namespace that is watched: the operator must see it through its own watch. */ -}}
{{- define "backup-operator.leaseNamespace" -}}
{{- if .Values.watchNamespaces -}}{{ first .Values.watchNamespaces }}{{- else -}}{{ .Release.Namespace }}{{- end -}}
{{- end -}}

{{- /* What the operator may do where its policies are. No Secrets: workers mount them, the operator never reads one. */ -}}
{{- define "backup-operator.rules" -}}
- apiGroups: [backup.agentsflow.ai]
  resources: [backuppolicies, restorerequests]
  verbs: [get, list, watch]
- apiGroups: [backup.agentsflow.ai]
  resources: [backuppolicies/status, restorerequests/status]
  verbs: [patch]
- apiGroups: [batch]
  resources: [cronjobs]
  verbs: [get, list, watch, create, patch, update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, create]
- apiGroups: [""]
  resources: [events]
  verbs: [list]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "backup-operator.fullname" . | quote }}]
  verbs: [list, watch]
{{- end -}}

{{- /* A file of the chart with the names of this release in place of the words that stand for them. */ -}}
{{- define "backup-operator.here" -}}
{{- $lease := include "backup-operator.leaseNamespace" .root -}}
{{- .text | replace "NAMESPACE_OF_LEASE" $lease | replace "RELEASE_NAMESPACE" .root.Release.Namespace | replace "RELEASE_NAME" (include "backup-operator.fullname" .root) -}}
{{- end -}}

{{- define "backup-operator.metricsPort" -}}
{{- (.Values.operator | default dict).metricsPort | default 8081 | int -}}
{{- end -}}
