package arm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"

	"jitgate/internal/armid"
	"jitgate/internal/nsg"
)

// group is an NSG as it was read.
type group struct {
	nsg.Group
	document
	etag   string
	moving bool // a write is under way, by us or somebody else
}

// Group implements [access.Network].
func (n *Network) Group(ctx context.Context, id armid.ID) (nsg.Group, error) {
	g, err := n.readGroup(ctx, id)
	if err != nil {
		return nsg.Group{}, unread(id.String(), err)
	}
	return g.Group, nil
}

func (n *Network) readGroup(ctx context.Context, id armid.ID) (group, error) {
	c, err := n.in(id.Subscription())
	if err != nil {
		return group{}, err
	}
	var answer *http.Response
	got, err := c.groups.Get(policy.WithCaptureResponse(ctx, &answer), id.ResourceGroup(), id.Name(), nil)
	if err != nil {
		return group{}, err
	}
	body, err := runtime.Payload(answer)
	if err != nil {
		return group{}, err
	}
	g := group{Group: convert(&got.SecurityGroup), etag: text(got.Etag)}
	if g.document, err = parse(body); err != nil {
		return group{}, err
	}
	texts, err := g.verbatim()
	if err != nil {
		return group{}, err
	}
	for i, r := range g.Rules {
		g.Rules[i].Verbatim = texts[r.Name]
	}
	if p := got.Properties; p != nil {
		g.moving = changing(p.ProvisioningState)
		for _, r := range p.SecurityRules {
			if r != nil && r.Properties != nil && ours(text(r.Name)) {
				g.moving = g.moving || changing(r.Properties.ProvisioningState)
			}
		}
	}
	return g, nil
}

func changing(state *armnetwork.ProvisioningState) bool {
	return is(state, armnetwork.ProvisioningStateUpdating, armnetwork.ProvisioningStateCreating, armnetwork.ProvisioningStateDeleting)
}

// convert knows the typed model only, so it leaves Verbatim nil.
func convert(g *armnetwork.SecurityGroup) nsg.Group {
	out := nsg.Group{ID: text(g.ID)}
	p := g.Properties
	if p == nil {
		return out
	}
	out.Rules, out.Defaults = readRules(p.SecurityRules), readRules(p.DefaultSecurityRules)
	out.FlushConnection = p.FlushConnection != nil && *p.FlushConnection
	for _, i := range p.NetworkInterfaces {
		if i != nil && i.ID != nil {
			out.Interfaces = append(out.Interfaces, *i.ID)
		}
	}
	for _, s := range p.Subnets {
		if s != nil && s.ID != nil {
			out.Subnets = append(out.Subnets, *s.ID)
		}
	}
	return out
}

// document is the JSON of a group, taken apart down to the rules and no further:
// what is below stays as it came, members that the SDK's models would drop
// included.
type document struct {
	whole, properties map[string]json.RawMessage
	rules             []named
}

type named struct {
	name string
	text json.RawMessage
}

func parse(body []byte) (document, error) {
	var d document
	var rules []json.RawMessage
	if err := json.Unmarshal(body, &d.whole); err != nil {
		return d, fmt.Errorf("group: %w", err)
	}
	if err := json.Unmarshal(d.whole["properties"], &d.properties); err != nil {
		return d, fmt.Errorf("properties of the group: %w", err)
	}
	if list := d.properties["securityRules"]; list != nil { // may be left out when there are none
		if err := json.Unmarshal(list, &rules); err != nil {
			return d, fmt.Errorf("rules of the group: %w", err)
		}
	}
	for _, r := range rules {
		var head struct {
			Name string `json:"name"`
		}
		if err := json.Unmarshal(r, &head); err != nil {
			return d, fmt.Errorf("rule of the group: %w", err)
		}
		d.rules = append(d.rules, named{head.Name, r})
	}
	return d, nil
}

// verbatim is what [nsg.Rule] keeps of each rule's properties, by name.
func (d document) verbatim() (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, r := range d.rules {
		var rule struct {
			Properties map[string]json.RawMessage `json:"properties"`
		}
		if err := json.Unmarshal(r.text, &rule); err != nil {
			return nil, fmt.Errorf("rule %s: %w", r.name, err)
		}
		if rule.Properties == nil {
			continue
		}
		delete(rule.Properties, "provisioningState")
		text, err := encode(rule.Properties)
		if err != nil {
			return nil, err
		}
		out[r.name] = text
	}
	return out, nil
}

// rewrite gives the group as it was read with the plan carried out: rules the
// plan deletes are taken out, those it puts are replaced in their place or
// appended. All else stays the JSON it was, rules that are not ours to change
// above all.
func (d document) rewrite(plan nsg.Plan) ([]byte, error) {
	puts := map[string]json.RawMessage{}
	for _, r := range plan.Put {
		text, err := encodeRule(r)
		if err != nil {
			return nil, err
		}
		puts[r.Name] = text
	}
	rules := []json.RawMessage{}
	for _, r := range d.rules {
		if slices.Contains(plan.Delete, r.name) {
			continue
		}
		if text, replaced := puts[r.name]; replaced {
			r.text = text
			delete(puts, r.name)
		}
		rules = append(rules, r.text)
	}
	for _, r := range plan.Put {
		if text, left := puts[r.Name]; left {
			rules = append(rules, text)
		}
	}
	properties := map[string]any{"securityRules": rules}
	if plan.Flush != nil {
		properties["flushConnection"] = *plan.Flush
	}
	return encode(overlay(d.whole, map[string]any{"properties": overlay(d.properties, properties)}))
}

// overlay is a copy of an object with some members set.
func overlay(object map[string]json.RawMessage, members map[string]any) map[string]any {
	out := make(map[string]any, len(object)+len(members))
	for name, text := range object {
		out[name] = text
	}
	for name, value := range members {
		out[name] = value
	}
	return out
}

// encode is compact JSON that leaves text such as "<" as it is.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}
