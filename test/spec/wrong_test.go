package spec

import (
	"encoding/json"
	"strings"
	"testing"
)

// wrongValues are edits of config.json: a path and a JSON value, and where the message has to name something else than the path, that.
var wrongValues = []struct{ path, value, field string }{
	{"process", `null`, ""},
	{"process", `[]`, ""},
	{"process.args", `[""]`, "process.args[0]"},
	{"process.args", `"sh"`, ""},
	{"process.args", `[1]`, ""},
	{"process.args", `["a\u0000b"]`, "process.args[0]"},
	{"process.env", `["=x"]`, "process.env[0]"},
	{"process.env", `["A=1","B"]`, "process.env[1]"},
	{"process.terminal", `"yes"`, ""},
	{"process.user.uid", `-1`, ""},
	{"process.user.uid", `4294967295`, ""},
	{"process.user.gid", `"root"`, ""},
	{"process.user.umask", `512`, ""},
	{"process.user.additionalGids", `[4294967295]`, "process.user.additionalGids[0]"},
	{"process.rlimits", `[{"type":"RLIMIT_LUCK","soft":1,"hard":1}]`, "process.rlimits[0].type"},
	{"process.rlimits", `[{"type":"RLIMIT_CORE","soft":2,"hard":1}]`, "process.rlimits[0].soft"},
	{"process.rlimits", `[{"type":"RLIMIT_CORE","soft":1,"hard":1},{"type":"RLIMIT_CORE","soft":1,"hard":1}]`, "process.rlimits[1].type"},
	{"process.rlimits", `[{"type":"RLIMIT_CORE","soft":-1,"hard":1}]`, "soft"},
	{"process.capabilities", `{"effective":["CAP_KILL"]}`, "process.capabilities.effective"},
	{"process.capabilities", `{"inheritable":["CAP_KILL"]}`, "process.capabilities.inheritable"},
	{"process.capabilities", `["CAP_KILL"]`, ""},
	{"process.oomScoreAdj", `1001`, ""},
	{"process.oomScoreAdj", `1.5`, ""},
	{"process.scheduler", `{"policy":"SCHED_FAST"}`, "process.scheduler.policy"},
	{"process.scheduler", `{"policy":"SCHED_OTHER","nice":20}`, "process.scheduler.nice"},
	{"process.scheduler", `{"policy":"SCHED_FIFO","priority":100}`, "process.scheduler.priority"},
	{"process.scheduler", `{"policy":"SCHED_OTHER","flags":["FLAG"]}`, "process.scheduler.flags[0]"},
	{"process.scheduler", `{"policy":"SCHED_DEADLINE","runtime":5000000,"deadline":1000000}`, "process.scheduler.deadline"},
	{"process.ioPriority", `{"class":"IOPRIO_CLASS_BEST","priority":1}`, "process.ioPriority.class"},
	{"process.ioPriority", `{"class":"IOPRIO_CLASS_BE","priority":8}`, "process.ioPriority.priority"},
	{"process.execCPUAffinity", `{"initial":"x"}`, "process.execCPUAffinity.initial"},
	{"process.execCPUAffinity", `{"final":"3-1"}`, "process.execCPUAffinity.final"},
	{"process.terminal", `true`, ""},
	{"root.readonly", `1`, ""},
	{"mounts", `{}`, ""},
	{"mounts", `[{"destination":"/x","type":"tmpfs","options":"ro"}]`, "options"},
	{"hooks", `{"prestart":[{}]}`, "hooks.prestart[0].path"},
	{"hooks", `{"poststop":[{"path":"/bin/true","timeout":-1}]}`, "hooks.poststop[0].timeout"},
	{"annotations", `{"a":1}`, ""},
	{"linux.namespaces", `[{"type":"pids"}]`, "linux.namespaces[0].type"},
	{"linux.cgroupsPath", `"a\u0000b"`, ""},
	{"linux.resources.memory", `{"limit":-2}`, "linux.resources.memory.limit"},
	{"linux.resources.memory", `{"limit":1000000000,"swap":1000}`, "linux.resources.memory.swap"},
	{"linux.resources.memory", `{"swappiness":101}`, "linux.resources.memory.swappiness"},
	{"linux.resources.memory", `{"limit":"1g"}`, "limit"},
	{"linux.resources.cpu", `{"period":5}`, "linux.resources.cpu.period"},
	{"linux.resources.cpu", `{"quota":5}`, "linux.resources.cpu.quota"},
	{"linux.resources.cpu", `{"cpus":"a"}`, "linux.resources.cpu.cpus"},
	{"linux.resources.cpu", `{"idle":2}`, "linux.resources.cpu.idle"},
	{"linux.resources.pids", `{"limit":-2}`, "linux.resources.pids.limit"},
	{"linux.resources.blockIO", `{"weight":5}`, "linux.resources.blockIO.weight"},
	{"linux.resources.devices", `[{"allow":true,"access":"x"}]`, "linux.resources.devices[0].access"},
	{"linux.resources.devices", `[{"allow":true,"type":"z"}]`, "linux.resources.devices[0].type"},
	{"linux.resources.devices", `[{"access":"rwm","major":99999999,"type":"c"}]`, "linux.resources.devices[0].major"},
	{"linux.resources.hugepageLimits", `[{"pageSize":"2 pages","limit":1}]`, "linux.resources.hugepageLimits[0]"},
	{"linux.resources.rdma", `{"mlx5":{}}`, "linux.resources.rdma"},
	{"linux.resources.unified", `{"../x":"1"}`, "linux.resources.unified"},
	{"linux.resources.network", `{"priorities":[{"name":"a/b","priority":1}]}`, "linux.resources.network.priorities[0].name"},
	{"linux.rootfsPropagation", `"loud"`, ""},
	{"linux.maskedPaths", `["x"]`, "linux.maskedPaths[0]"},
	{"linux.readonlyPaths", `[""]`, "linux.readonlyPaths[0]"},
	{"linux.personality", `{"domain":"SUN"}`, "linux.personality.domain"},
	{"linux.intelRdt", `{"schemata":["L3:0=f\nL2:0=f"]}`, "linux.intelRdt"},
	{"linux.timeOffsets", `{"monotonic":{"secs":1}}`, ""},
	{"linux.uidMappings", `[{"containerID":0,"hostID":0,"size":4294967295},{"containerID":1,"hostID":1,"size":1}]`, "linux.uidMappings"},
	{"linux.seccomp", `{}`, "linux.seccomp.defaultAction"},
	{"linux.netDevices", `{"eth0":{"name":"x/y"}}`, "linux.netDevices"},
}

// TestWrongValues: each is refused with the name of its field, and nothing is left behind.
func TestWrongValues(t *testing.T) {
	t.Parallel()
	for _, w := range wrongValues {
		t.Run(w.path+"="+w.value, func(t *testing.T) {
			b := newBox(t, "true")
			b.patch = func(config map[string]any) {
				keys := strings.Split(w.path, ".")
				at := config
				for _, key := range keys[:len(keys)-1] {
					at = at[key].(map[string]any)
				}
				var v any
				b.must(json.Unmarshal([]byte(w.value), &v))
				at[keys[len(keys)-1]] = v
			}
			field := w.field
			if field == "" {
				field = w.path
			}
			b.refused(field)
		})
	}
}
