{{- define "bridge.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "bridge.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "bridge.labels" -}}
{{ include "bridge.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Not empty if the journal is in PostgreSQL. */}}
{{- define "bridge.postgres" -}}
{{- if (.Values.config.journal | default dict).postgres }}yes{{ end }}
{{- end }}

{{/*
The configuration. Helm merges maps, so the default of journal.dir would stay beside journal.postgres; they exclude each other.
*/}}
{{- define "bridge.config" -}}
{{- $config := deepCopy .Values.config }}
{{- if include "bridge.postgres" . }}{{ $_ := unset $config.journal "dir" }}{{ end }}
{{- toYaml $config }}
{{- end }}

{{- define "bridge.port" -}}
{{- $listen := .root.Values.config.listen | default dict }}
{{- $address := get $listen .listener | default .default }}
{{- $port := regexFind "[0-9]+$" $address }}
{{- if not $port }}{{ fail (printf "config.listen.%s needs a port: %s" .listener $address) }}{{ end }}
{{- $port }}
{{- end }}

{{/* Not empty if other pods can reach the listener: its address is not one of the loopback. */}}
{{- define "bridge.exposed" -}}
{{- $listen := .root.Values.config.listen | default dict }}
{{- $address := get $listen .listener | default "127.0.0.1" }}
{{- if not (regexMatch "^(127\\.|localhost|\\[::1\\])" $address) }}yes{{ end }}
{{- end }}

{{/* A duration of the configuration in whole seconds, rounded up; such as 10s, 1m30s, 500ms. */}}
{{- define "bridge.seconds" -}}
{{- $seconds := 0 }}
{{- range regexFindAll "[0-9.]+(ms|us|µs|ns|h|m|s)" . -1 }}
{{- $n := regexFind "^[0-9.]+" . | float64 }}
{{- $unit := regexFind "[a-zµ]+$" . }}
{{- $seconds = addf $seconds (mulf $n (get (dict "h" 3600.0 "m" 60.0 "s" 1.0 "ms" 0.001 "us" 0.000001 "µs" 0.000001 "ns" 0.000000001) $unit)) }}
{{- end }}
{{- ceil $seconds | int }}
{{- end }}

{{/* The time to stop: for which the server goes on serving, for which it may finish, and a margin. */}}
{{- define "bridge.grace" -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds }}
{{- $delay := .Values.config.shutdown_delay | default (ternary "10s" "0s" (eq (include "bridge.postgres" .) "yes")) }}
{{- add (include "bridge.seconds" $delay) (include "bridge.seconds" (.Values.config.shutdown_timeout | default "10s")) 15 }}
{{- else }}
{{- .Values.terminationGracePeriodSeconds }}
{{- end }}
{{- end }}

{{- define "bridge.check" -}}
{{- if and (gt (int .Values.replicas) 1) (not (include "bridge.postgres" .)) }}
{{- fail "replicas: more than one needs config.journal.postgres, a journal that replicas can share" }}
{{- end }}
{{- if not (include "bridge.exposed" (dict "root" . "listener" "webhooks")) }}
{{- fail "config.listen.webhooks: vendors cannot reach a loopback address of the pod" }}
{{- end }}
{{- if not (include "bridge.exposed" (dict "root" . "listener" "ops")) }}
{{- fail "config.listen.ops: the kubelet cannot reach a loopback address of the pod" }}
{{- end }}
{{- end }}
