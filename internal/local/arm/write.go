package arm

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
)

// Names of operations in Azure's messages.
const (
	putRuleOperation    = "PutSecurityRuleOperation"
	deleteRuleOperation = "DeleteSecurityRuleOperation"
	putNSGOperation     = "PutNetworkSecurityGroupOperation"
	deleteNSGOperation  = "DeleteNetworkSecurityGroupOperation"
)

// readOnly are the members of an NSG's properties that the service owns; clients
// send back what they read, so they are ignored rather than refused.
var readOnly = map[string]bool{"securityRules": true, "defaultSecurityRules": true, "networkInterfaces": true,
	"subnets": true, "flowLogs": true, "resourceGuid": true, "provisioningState": true}

// contend decides what happens to a write that finds another one in flight. It
// returns the state that the write is to build on, or its refusal; nothing has
// changed yet, because the write may still turn out to be invalid.
func (s *Server) contend(n *nsg, put bool) (groupState, *answer) {
	p := n.pending
	switch {
	case p == nil:
		return n.state, nil
	case s.busy == BusyConflict:
		return groupState{}, refuse(http.StatusConflict, "AnotherOperationInProgress",
			"Another operation on this or dependent resource is in progress. Operation %s (%s) is updating resource %s.", p.name, p.id, n.id)
	case s.busy == BusyRetryable || !put || !p.put:
		return groupState{}, retryable("RetryableErrorDueToAnotherOperation",
			"Operation %s (%s) is updating resource %s. The call can be retried later.", p.name, p.id, n.id)
	case s.survive:
		return n.state, nil
	}
	return p.before, nil
}

func retryable(code, format string, args ...any) *answer {
	return refuseWith(http.StatusTooManyRequests, failure{Code: "RetryableError", Message: "A retryable error occurred.",
		Details: []detail{{Code: code, Message: fmt.Sprintf(format, args...)}}})
}

// start shows next at once and begins the operation, which overtakes the one in
// flight. after is what it leaves behind when it succeeds; that differs from next
// for deletions only.
func (s *Server) start(c *call, n *nsg, name string, put bool, next, after groupState, touched map[string]string) *operation {
	p := &pending{put: put, before: n.state, after: after, touched: touched}
	if p.touched[""] == "" {
		p.touched[""] = "Updating"
	}
	old := n.pending
	if old != nil && !s.survive {
		p.before = old.before
	}
	p.operation = s.begin(c, "Microsoft.Network", next.location, name,
		func() {
			n.state, n.live, n.committed = p.after, p.after.rules, true
			n.pending, n.etag = nil, newETag()
		},
		func() {
			n.state, n.pending, n.etag = p.before, nil, newETag()
			if !n.committed {
				delete(s.world.nsgs, key(n.id))
			}
		})
	if old != nil {
		old.end(canceled, overtaken(old.operation, name, p.id))
	}
	n.state, n.pending, n.etag = next, p, newETag()
	return p.operation
}

func (s *Server) parent(c *call) (*nsg, *answer) {
	n := s.world.nsgs[key(c.id(nsgType))]
	if n == nil {
		return nil, refuse(http.StatusNotFound, "ParentResourceNotFound",
			"Failed to perform '%s' on resource(s) of type 'networkSecurityGroups/securityRules', because the parent resource '%s' could not be found.",
			strings.ToLower(c.r.Method), c.id(nsgType))
	}
	return n, nil
}

// putRule upserts one rule. If-Match is not looked at: whether Azure does for
// single rules is UNVERIFIED, and a client must not lean on it.
func (s *Server) putRule(c *call) *answer {
	n, refused := s.parent(c)
	if refused != nil {
		return refused
	}
	body, err := decodeObject(c.body)
	if err != nil {
		return unreadable("%v", err)
	}
	properties, isObject := body["properties"].(map[string]any)
	if !isObject {
		return unreadable("A JSON object is wanted. Path 'properties'.")
	}
	made, refused := s.world.readRule(n.id, c.child(), properties)
	if refused != nil {
		return refused
	}
	made.extra = unknownMembers(body)
	base, refused := s.contend(n, true)
	if refused != nil {
		return refused
	}
	if !n.committed && n.pending != nil {
		return retryable("ReferencedResourceNotProvisioned",
			"Cannot proceed with operation because resource %s is not in Succeeded state. The last operation that is updating the resource is %s.", n.id, n.pending.name)
	}
	// A rule about to be undone still holds its priority while it can be seen.
	if refused := checkRules(n.id, n.state.with(made).rules); refused != nil {
		return refused
	}
	status := http.StatusCreated
	if _, old := base.find(made.name); old != nil {
		made.name = old.name // the name keeps the casing it was created with
		status = http.StatusOK
	}
	next := base.with(made)
	op := s.start(c, n, putRuleOperation, true, next, next, map[string]string{key(made.name): "Updating"})
	return op.accepted(c, &answer{status: status, body: n.ruleJSON(made)})
}

// deleteRule answers 204 for a rule that is not there, but 404 when the NSG is
// gone (UNVERIFIED for DELETE; it is what ARM says to a PUT).
func (s *Server) deleteRule(c *call) *answer {
	n, refused := s.parent(c)
	if refused != nil {
		return refused
	}
	if _, r := n.state.find(c.child()); r == nil {
		return &answer{status: http.StatusNoContent}
	}
	base, refused := s.contend(n, false)
	if refused != nil {
		return refused
	}
	op := s.start(c, n, deleteRuleOperation, false, base, base.without(c.child()), map[string]string{key(c.child()): "Deleting"})
	return op.accepted(c, &answer{status: http.StatusAccepted})
}

// precondition judges If-Match and If-None-Match against the NSG's etag.
func precondition(r *http.Request, n *nsg) *answer {
	want, unless := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
	lost := want != "" && (n == nil || (want != "*" && want != n.etag)) ||
		unless != "" && n != nil && (unless == "*" || unless == n.etag)
	if lost {
		return refuse(http.StatusPreconditionFailed, "PreconditionFailed",
			"Precondition failed. The resource is not in the state that the request's If-Match or If-None-Match header describes.")
	}
	return nil
}

// putNSG creates or replaces a whole NSG: a rule left out is removed.
func (s *Server) putNSG(c *call) *answer {
	id := c.id(nsgType)
	n := s.world.nsgs[key(id)]
	if refused := precondition(c.r, n); refused != nil {
		return refused
	}
	next, refused := s.readNSG(c, id, n)
	if refused != nil {
		return refused
	}
	status := http.StatusOK
	base := groupState{}
	if n == nil {
		if !resourceName.MatchString(c.name()) {
			return invalidName(c.name())
		}
		group := s.world.groups[key(groupID(c.subscription(), c.group()))]
		n = &nsg{id: group.id + "/providers/" + nsgType + "/" + c.name(), name: c.name(), guid: newETag()[3:39]}
	} else if base, refused = s.contend(n, true); refused != nil {
		return refused
	}
	if !n.committed {
		status = http.StatusCreated
	}
	touched := map[string]string{}
	for _, r := range next.rules {
		if _, old := base.find(r.name); old == nil || !reflect.DeepEqual(old.properties, r.properties) {
			touched[key(r.name)] = "Updating"
		}
	}
	op := s.start(c, n, putNSGOperation, true, next, next, touched)
	s.world.nsgs[key(n.id)] = n
	return op.accepted(c, &answer{status: status, body: s.nsgJSON(n)})
}

// readNSG reads the body of an NSG PUT. n is the existing NSG or nil.
func (s *Server) readNSG(c *call, id string, n *nsg) (groupState, *answer) {
	var none groupState
	body, err := decodeObject(c.body)
	if err != nil {
		return none, unreadable("%v", err)
	}
	location, _ := body["location"].(string)
	location = strings.ToLower(strings.ReplaceAll(location, " ", ""))
	if location == "" {
		return none, refuse(http.StatusBadRequest, "LocationRequired", "The location property is required for this definition.")
	}
	if n != nil {
		id = n.id
		if n.state.location != location {
			return none, refuse(http.StatusConflict, "InvalidResourceLocation",
				"The resource '%s' already exists in location '%s'. A resource with the same name cannot be created in location '%s'.", c.name(), n.state.location, location)
		}
	}
	next := groupState{location: location, properties: map[string]any{}, extra: unknownMembers(body)}
	var refused *answer
	if next.tags, refused = readTags(body); refused != nil {
		return none, refused
	}
	properties, isObject := body["properties"].(map[string]any)
	if body["properties"] != nil && !isObject {
		return none, unreadable("A JSON object is wanted. Path 'properties'.")
	}
	for field, value := range properties {
		if !readOnly[field] && value != nil {
			next.properties[field] = value
		}
	}
	// A PUT replaces, so one that does not say flushConnection turns it off; that
	// Azure does the same, rather than keep it, is UNVERIFIED.
	if flush := next.properties["flushConnection"]; flush != nil && flush != true && flush != false {
		return none, unreadable("A boolean is wanted. Path 'properties.flushConnection'.")
	}
	list, isList := properties["securityRules"].([]any)
	if properties["securityRules"] != nil && !isList {
		return none, unreadable("An array is wanted. Path 'properties.securityRules'.")
	}
	for i, item := range list {
		object, _ := item.(map[string]any)
		name, _ := object["name"].(string)
		fields, isObject := object["properties"].(map[string]any)
		if !isObject {
			return none, unreadable("A rule with properties is wanted. Path 'properties.securityRules[%d]'.", i)
		}
		made, refused := s.world.readRule(id, name, fields)
		if refused != nil {
			return none, refused
		}
		made.extra = unknownMembers(object)
		next.rules = append(next.rules, made)
	}
	return next, checkRules(id, next.rules)
}

func readTags(body map[string]any) (map[string]any, *answer) {
	if body["tags"] == nil {
		return nil, nil
	}
	tags, isObject := body["tags"].(map[string]any)
	if !isObject {
		return nil, unreadable("A JSON object is wanted. Path 'tags'.")
	}
	for name, value := range tags {
		if _, isText := value.(string); !isText {
			return nil, unreadable("A string is wanted. Path 'tags.%s'.", name)
		}
	}
	return tags, nil
}

// patchNSG replaces the tags at once; nothing else can be patched (armnetwork v9,
// UpdateTags).
func (s *Server) patchNSG(c *call) *answer {
	n := s.world.nsgs[key(c.id(nsgType))]
	if n == nil {
		return c.notFound(nsgType)
	}
	body, err := decodeObject(c.body)
	if err != nil {
		return unreadable("%v", err)
	}
	tags, refused := readTags(body)
	if refused != nil {
		return refused
	}
	s.edit(n, func(g groupState) groupState { g.tags = tags; return g })
	return ok(s.nsgJSON(n))
}

func (s *Server) deleteNSG(c *call) *answer {
	n := s.world.nsgs[key(c.id(nsgType))]
	if n == nil {
		return &answer{status: http.StatusNoContent}
	}
	if subnets, nics := s.world.users(n); len(subnets)+len(nics) > 0 {
		return refuse(http.StatusBadRequest, "InUseNetworkSecurityGroupCannotBeDeleted",
			"Network security group %s cannot be deleted because it is in use by the following resources: %s.", n.id, strings.Join(append(subnets, nics...), ", "))
	}
	base, refused := s.contend(n, false)
	if refused != nil {
		return refused
	}
	op := s.start(c, n, deleteNSGOperation, false, base, base, map[string]string{"": "Deleting"})
	n.pending.commit = func() { delete(s.world.nsgs, key(n.id)) }
	return op.accepted(c, &answer{status: http.StatusAccepted})
}

// edit changes an NSG at once, in what is seen, in what an operation in flight
// would fall back to, and in what it will leave behind.
func (s *Server) edit(n *nsg, change func(groupState) groupState) {
	n.state = change(n.state)
	n.live = change(groupState{rules: n.live}).rules
	n.etag = newETag()
	if p := n.pending; p != nil {
		p.before, p.after = change(p.before), change(p.after)
	}
}
