package alert

import (
	"strings"

	"jitgate/internal/armid"
)

// resourceColumns are where a log alert names its resource, in the order in
// which Azure Monitor itself looks (Azure Monitor documentation, common alert schema).
var resourceColumns = []string{"_ResourceId", "ResourceId", "Resource", "Computer"}

// machines lists what the alert is about. The target of a workspace's alert is
// the workspace, so the machine has to be looked for in several places; only a
// full id of a VM counts in any of them.
func (c alertContext) machines(e essentials) (machines []armid.ID, names []string) {
	f := finder{seen: map[string]bool{}}
	for _, target := range e.AlertTargetIDs {
		f.machine(target)
	}
	for _, item := range append(e.ConfigurationItems, c.AffectedConfigurationItems...) {
		f.item(item)
	}
	f.row(c.Dimensions)
	for _, condition := range c.Condition.AllOf {
		f.row(condition.Dimensions)
		for _, row := range condition.Event {
			f.row(row)
		}
	}
	// Defender's activity log alerts have the machine here, by name only.
	f.item(text(c.Properties["compromisedEntity"]))
	f.scope(c.Authorization.Scope)
	return f.machines, f.names
}

type finder struct {
	machines []armid.ID
	names    []string
	seen     map[string]bool // names, and machines by their ids in lower case
}

func (f *finder) machine(t text) bool {
	id, err := armid.ParseType(string(t), armid.VirtualMachine)
	if err != nil {
		return false
	}
	if folded := strings.ToLower(id.String()); !f.seen[folded] {
		f.seen[folded] = true
		f.machines = append(f.machines, id)
	}
	return true
}

// item is a machine's id or, more often, a bare name. Ids of other resources are
// neither.
func (f *finder) item(t text) {
	if f.machine(t) || strings.Contains(string(t), "/") {
		return
	}
	if name := line(string(t)); name != "" && !f.seen[name] {
		f.seen[name] = true
		f.names = append(f.names, name)
	}
}

// row takes the first column that holds a machine's id: the others say the same
// machine in other words.
func (f *finder) row(columns []dimension) {
	for _, wanted := range resourceColumns {
		for _, column := range columns {
			if strings.EqualFold(string(column.Name), wanted) && f.machine(column.Value) {
				return
			}
		}
	}
	for _, wanted := range resourceColumns {
		for _, column := range columns {
			if strings.EqualFold(string(column.Name), wanted) {
				f.item(column.Value)
			}
		}
	}
}

// scope of an operation can lie within a machine, such as one of its
// extensions; the id is then cut behind the machine. An NSG rule lies in none.
func (f *finder) scope(t text) {
	parts := strings.Split(string(t), "/")
	const ofMachine = 9 // "", subscriptions, id, resourceGroups, name, providers, namespace, type, name
	f.machine(text(strings.Join(parts[:min(len(parts), ofMachine)], "/")))
}
