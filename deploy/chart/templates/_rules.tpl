{{/*
What the parts may do on the API server, and no more: what is called is in src/kube, and tests/deploy.rs compares these
rules with the API server's audit log, both ways. Each line is one rule: "<part> <verb,…> <group>/<resource> <why>".
*/}}

{{/* Reads of the whole cluster: the watches of every process, and nodes, which have no namespace. */}}
{{- define "wam.rules.cluster" -}}
all list,watch core/nodes their room, labels and taints
all list,watch core/pods what the nodes are full of, what waits for a node, what became of an action's pods
all list,watch apps/deployments the workloads of actions
all list,watch apps/replicasets whose pod it is
all list,watch policy/poddisruptionbudgets which evictions can succeed
all list,watch core/namespaces the labels that affinity between pods asks for
all list,watch core/services which pods are spread together
all list,watch core/replicationcontrollers which pods are spread together
all list,watch apps/statefulsets which pods are spread together
all list,watch core/persistentvolumeclaims where a pod's volumes can be
all list,watch core/persistentvolumes where a pod's volumes can be
all list,watch storage.k8s.io/storageclasses where a pod's volumes can be
all list,watch storage.k8s.io/csinodes how many volumes a node takes
all list,watch storage.k8s.io/csidrivers which drivers say how much room they have
all list,watch storage.k8s.io/csistoragecapacities where a volume can be made
all list,watch storage.k8s.io/volumeattachments how many volumes a node has
scheduler patch core/persistentvolumes a volume is a waiting claim's
api get core/nodes an action's target exists and is not cordoned
{{- end -}}

{{/* In the namespaces of the actions and the pods. */}}
{{- define "wam.rules.namespaced" -}}
api get apps/deployments an action's workload exists and is ours
api get apps/replicasets whose pod it is
api get core/pods an action's pod exists
api create core/pods/eviction dry runs of evictions (dryRun=All)
executor get,patch apps/deployments the replica count and our ledger label
executor get,patch core/pods how an action's pods stand; our fence annotation
executor create core/pods/eviction the named pod goes, as budgets allow
scheduler get core/pods before a status patch, and when a binding's answer was lost
scheduler create core/pods/binding the pod goes to its node
scheduler patch core/pods/status the condition PodScheduled, the nominated node; DisruptionTarget of a pod that is displaced
scheduler delete core/pods a pod is displaced by one of higher priority
scheduler patch core/persistentvolumeclaims the node on which a claim's volume is to be made
scheduler get apps/replicasets whose pod it is, when the watch is late
scheduler create,patch events.k8s.io/events Scheduled, FailedScheduling
{{- end -}}

{{/* In the release's namespace: the lease of the scheduler's leader. A name cannot be demanded of a create. */}}
{{- define "wam.rules.lease" -}}
scheduler create coordination.k8s.io/leases the election's lease
{{- end -}}
{{- define "wam.rules.leaseByName" -}}
scheduler get,update coordination.k8s.io/leases the election's lease
{{- end -}}

{{/* The rules of some parts, as RBAC has them: {"lines", "parts", "names"}. Equal resources are one rule. */}}
{{- define "wam.rules" -}}
{{- $parts := append .parts "all" -}}
{{- $names := .names -}}
{{- $verbs := dict -}}
{{- $whys := dict -}}
{{- range splitList "\n" .lines -}}
  {{- $words := splitn " " 4 . -}}
  {{- if has $words._0 $parts -}}
    {{- $seen := get $verbs $words._2 | default list -}}
    {{- $_ := set $verbs $words._2 (concat $seen (splitList "," $words._1) | uniq) -}}
    {{- $_ := set $whys $words._2 (append (get $whys $words._2 | default list) $words._3 | uniq) -}}
  {{- end -}}
{{- end -}}
{{- range $index, $resource := keys $verbs | sortAlpha }}
{{- if $index }}{{ "\n" }}{{ end }}
{{- $group := regexFind "^[^/]+" $resource -}}
# {{ get $whys $resource | join "; " }}
- apiGroups: [{{ ternary "" $group (eq $group "core") | quote }}]
  resources: [{{ regexReplaceAll "^[^/]+/" $resource "" }}]
  verbs: [{{ get $verbs $resource | sortAlpha | join ", " }}]
  {{- with $names }}
  resourceNames: [{{ join ", " . }}]
  {{- end }}
{{- end -}}
{{- end -}}
