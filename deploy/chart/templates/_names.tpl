{{- define "wam.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "wam.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "wam.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Of what belongs to no namespace: two releases must not share it. */}}
{{- define "wam.clusterName" -}}
{{ .name }}.{{ .root.Release.Namespace }}
{{- end -}}

{{/* The lease of the scheduler's leader. */}}
{{- define "wam.lease" -}}
{{- include "wam.fullname" . }}-leader
{{- end -}}

{{- define "wam.selector" -}}
app.kubernetes.io/name: {{ include "wam.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- if .component }}
app.kubernetes.io/component: {{ .component }}
{{- end }}
{{- end -}}

{{- define "wam.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{ include "wam.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: wam
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end -}}

{{/*
The Deployments of this release, as JSON: [{"name", "component", "parts", "replicas"}]. What is not apart shares one; it
has the release's plain name, and its component says "manager".
*/}}
{{- define "wam.deployments" -}}
{{- $root := . -}}
{{- $all := list -}}
{{- $together := list -}}
{{- range list "api" "executor" "scheduler" -}}
  {{- if and (has . $root.Values.parts) (not (has . $root.Values.apart)) -}}
    {{- $together = append $together . -}}
  {{- end -}}
{{- end -}}
{{- if $together -}}
  {{- $all = append $all (dict "name" (include "wam.fullname" $root) "component" "manager" "parts" $together "replicas" (int $root.Values.replicas)) -}}
{{- end -}}
{{- range list "api" "executor" "scheduler" -}}
  {{- if and (has . $root.Values.parts) (has . $root.Values.apart) -}}
    {{- $replicas := int (default $root.Values.replicas (get $root.Values.replicasOf .)) -}}
    {{- $all = append $all (dict "name" (printf "%s-%s" (include "wam.fullname" $root) .) "component" . "parts" (list .) "replicas" $replicas) -}}
  {{- end -}}
{{- end -}}
{{- toJson $all -}}
{{- end -}}

{{/* The names by which pods choose this release's scheduler, for people. */}}
{{- define "wam.schedulerNames" -}}
{{- $names := list -}}
{{- range get .Values.schedulerConfiguration "profiles" | default list -}}
{{- $names = append $names (get . "schedulerName" | default "default-scheduler") -}}
{{- end -}}
{{- $names | default (list .Values.schedulerName) | join "` or `schedulerName: " -}}
{{- end -}}

{{/* Where Redis is, as JSON: {"host", "port", "secret", "key"}. */}}
{{- define "wam.redis" -}}
{{- if .Values.redis.enabled -}}
  {{- $sub := .Subcharts.redis -}}
  {{- $secret := $sub.Values.auth.existingSecret -}}
  {{- dict "host" (include "redis.fullname" $sub) "port" 6379 "secret" ($secret.name | default (include "redis.fullname" $sub)) "key" (ternary $secret.key "redis-password" (ne $secret.name "")) | toJson -}}
{{- else -}}
  {{- $redis := .Values.externalRedis -}}
  {{- dict "host" $redis.host "port" (int $redis.port) "secret" ($redis.existingSecret.name | default (printf "%s-redis" (include "wam.fullname" .))) "key" (ternary $redis.existingSecret.key "redis-password" (ne $redis.existingSecret.name "")) | toJson -}}
{{- end -}}
{{- end -}}

{{- define "wam.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}
