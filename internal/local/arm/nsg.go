package arm

import (
	"maps"
	"net/http"
	"slices"
)

// nsg is a network security group as seen from two sides. state is the control
// plane: a GET shows an accepted rule at once, marked Updating. live is the data
// plane: the probe obeys a rule only when its operation has succeeded. At most one
// operation is pending.
type nsg struct {
	id, name, guid string
	etag           string // shared with all rules; renewed by every change
	committed      bool   // false until the operation that creates it has succeeded
	state          groupState
	live           []*rule
	pending        *pending
}

// groupState is what a PUT of the NSG replaces. It and its parts are never changed
// in place, so that an operation can keep the state of before.
type groupState struct {
	location   string
	tags       map[string]any
	properties map[string]any // all but securityRules and the read-only ones
	extra      map[string]any // unknown members beside "properties"
	rules      []*rule
}

// pending is the operation in flight on an NSG. touched gives the provisioning
// state of each rule it changes, by key; "" stands for the NSG itself.
type pending struct {
	*operation
	put     bool
	before  groupState // what it falls back to
	after   groupState // what it leaves behind
	touched map[string]string
}

func (g groupState) find(name string) (int, *rule) {
	for i, r := range g.rules {
		if key(r.name) == key(name) {
			return i, r
		}
	}
	return -1, nil
}

// with returns the state with r added, or put in the place of the rule of its name.
func (g groupState) with(r *rule) groupState {
	g.rules = slices.Clone(g.rules)
	if i, _ := g.find(r.name); i >= 0 {
		g.rules[i] = r
	} else {
		g.rules = append(g.rules, r)
	}
	return g
}

func (g groupState) without(name string) groupState {
	g.rules = slices.DeleteFunc(slices.Clone(g.rules), func(r *rule) bool { return key(r.name) == key(name) })
	return g
}

// provisioning is the state of a rule, or of the NSG itself for "".
func (n *nsg) provisioning(name string) string {
	if n.pending != nil {
		if state := n.pending.touched[key(name)]; state != "" {
			return state
		}
	}
	return "Succeeded"
}

func (n *nsg) ruleJSON(r *rule) map[string]any {
	p := maps.Clone(r.properties)
	p["provisioningState"] = n.provisioning(r.name)
	return merged(r.extra, map[string]any{"id": n.id + "/securityRules/" + r.name, "name": r.name, "type": ruleType,
		"etag": n.etag, "properties": p})
}

func (s *Server) nsgJSON(n *nsg) map[string]any {
	rules := []any{}
	for _, r := range n.state.rules {
		rules = append(rules, n.ruleJSON(r))
	}
	p := merged(n.state.properties, map[string]any{"provisioningState": n.provisioning(""), "resourceGuid": n.guid,
		"securityRules": rules, "defaultSecurityRules": n.defaultsJSON()})
	subnets, nics := s.world.users(n)
	if len(nics) > 0 {
		p["networkInterfaces"] = references(nics)
	}
	if len(subnets) > 0 {
		p["subnets"] = references(subnets)
	}
	out := merged(n.state.extra, map[string]any{"id": n.id, "name": n.name, "type": nsgType, "etag": n.etag,
		"location": n.state.location, "properties": p})
	if len(n.state.tags) > 0 {
		out["tags"] = n.state.tags
	}
	return out
}

// merged returns what the client sent overlaid by what the service says.
func merged(client, service map[string]any) map[string]any {
	out := make(map[string]any, len(client)+len(service))
	maps.Copy(out, client)
	maps.Copy(out, service)
	return out
}

// users lists what an NSG is attached to. Those keep its id in its own casing.
func (w *world) users(n *nsg) (subnets, nics []string) {
	for _, sub := range w.subnets {
		if sub.nsg == n.id {
			subnets = append(subnets, sub.id)
		}
	}
	for _, nic := range w.interfaces {
		if nic.nsg == n.id {
			nics = append(nics, nic.id)
		}
	}
	slices.Sort(subnets)
	slices.Sort(nics)
	return subnets, nics
}

func (s *Server) listNSGs(c *call) *answer {
	return s.list(c, keysUnder(s.world.nsgs, c.scope()), func(k string) any { return s.nsgJSON(s.world.nsgs[k]) })
}

func (s *Server) getNSG(c *call) *answer {
	if n := s.world.nsgs[key(c.id(nsgType))]; n != nil {
		return ok(s.nsgJSON(n))
	}
	return c.notFound(nsgType)
}

// listRules gives the rules in stored order, the one they have inside the NSG. When
// the rule that a page ended with is gone, the next page begins anew: a client sees
// some rules twice rather than misses one.
func (s *Server) listRules(c *call) *answer {
	n := s.world.nsgs[key(c.id(nsgType))]
	if n == nil {
		return c.notFound(nsgType)
	}
	byKey := map[string]*rule{}
	var keys []string
	for _, r := range n.state.rules {
		byKey[key(r.name)] = r
		keys = append(keys, key(r.name))
	}
	return s.page(c, keys, func(last string) int { return slices.Index(keys, last) + 1 },
		func(k string) any { return n.ruleJSON(byKey[k]) })
}

func (s *Server) getRule(c *call) *answer {
	n := s.world.nsgs[key(c.id(nsgType))]
	if n == nil {
		return c.notFound(nsgType)
	}
	if _, r := n.state.find(c.child()); r != nil {
		return ok(n.ruleJSON(r))
	}
	return refuse(http.StatusNotFound, "NotFound", "Resource %s/securityRules/%s not found.", n.id, c.child())
}
