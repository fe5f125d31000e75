{{/*
One policy and its binding: what our own service accounts may change of one kind of object. "root", "suffix",
"rules", "variables" and "validations" (both as YAML).
*/}}
{{- define "wam.admission" -}}
{{- $root := .root -}}
{{- $name := printf "%s.%s" (include "wam.clusterName" (dict "root" $root "name" (include "wam.fullname" $root))) .suffix -}}
{{- $accounts := list -}}
{{- range fromJsonArray (include "wam.deployments" $root) -}}
{{- $accounts = append $accounts (printf "system:serviceaccount:%s:%s" $root.Release.Namespace .name) -}}
{{- end -}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ $name }}
  labels: {{- include "wam.labels" (dict "root" $root) | nindent 4 }}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules: {{- .rules | nindent 6 }}
  # Nobody else's requests are looked at.
  matchConditions:
    - name: our-accounts
      expression: request.userInfo.username in {{ toJson $accounts }}
  {{- with .variables }}
  # dyn: as maps, so that a field that this file does not know is compared too.
  variables: {{- . | nindent 4 }}
  {{- end }}
  validations: {{- .validations | nindent 4 }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ $name }}
  labels: {{- include "wam.labels" (dict "root" $root) | nindent 4 }}
spec:
  policyName: {{ $name }}
  validationActions: [Deny]
{{- end -}}

{{/* Both objects, and their maps of marks. */}}
{{- define "wam.admission.variables" -}}
- {name: after, expression: dyn(object)}
- {name: before, expression: dyn(oldObject)}
- {name: labelsAfter, expression: "'labels' in variables.after.metadata ? variables.after.metadata.labels : {}"}
- {name: labelsBefore, expression: "'labels' in variables.before.metadata ? variables.before.metadata.labels : {}"}
- {name: annotationsAfter, expression: "'annotations' in variables.after.metadata ? variables.after.metadata.annotations : {}"}
- {name: annotationsBefore, expression: "'annotations' in variables.before.metadata ? variables.before.metadata.annotations : {}"}
{{- end -}}

{{/* "a" and "b" agree in every key but "but" (a CEL list). */}}
{{- define "wam.admission.same" -}}
{{ .a }}.all(k, k in {{ .but }} || (k in {{ .b }} && {{ .a }}[k] == {{ .b }}[k])) &&
{{ .b }}.all(k, k in {{ .but }} || k in {{ .a }})
{{- end -}}

{{- define "wam.admission.metadata" -}}
{{- include "wam.admission.same" (dict "a" "variables.after.metadata" "b" "variables.before.metadata" "but" "['labels', 'annotations', 'generation', 'resourceVersion', 'managedFields']") -}}
{{- end -}}

{{- define "wam.admission.labels" -}}
{{- include "wam.admission.same" (dict "a" "variables.labelsAfter" "b" "variables.labelsBefore" "but" .) -}}
{{- end -}}

{{- define "wam.admission.annotations" -}}
{{- include "wam.admission.same" (dict "a" "variables.annotationsAfter" "b" "variables.annotationsBefore" "but" .) -}}
{{- end -}}
