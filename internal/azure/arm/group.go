package arm

import (
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
	etag   string
	moving bool   // a write is under way, by us or somebody else
	body   []byte // as it came
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
	g := group{Group: convert(&got.SecurityGroup), etag: text(got.Etag), body: body}
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

func convert(g *armnetwork.SecurityGroup) nsg.Group {
	out := nsg.Group{ID: text(g.ID)}
	if p := g.Properties; p != nil {
		out.Rules, out.Defaults = readRules(p.SecurityRules), readRules(p.DefaultSecurityRules)
	}
	return out
}

// rewrite gives the group as it was read with the plan carried out: rules the
// plan deletes are taken out, those it puts are replaced in their place or
// appended. All else stays the JSON it was. The SDK's model objects would drop
// every member they do not know, from rules that are not ours to change.
func (g group) rewrite(plan nsg.Plan) ([]byte, error) {
	var whole, properties map[string]json.RawMessage
	var rules []json.RawMessage
	if err := json.Unmarshal(g.body, &whole); err != nil {
		return nil, fmt.Errorf("group: %w", err)
	}
	if err := json.Unmarshal(whole["properties"], &properties); err != nil {
		return nil, fmt.Errorf("properties of the group: %w", err)
	}
	if list := properties["securityRules"]; list != nil { // may be left out when there are none
		if err := json.Unmarshal(list, &rules); err != nil {
			return nil, fmt.Errorf("rules of the group: %w", err)
		}
	}
	puts := slices.Clone(plan.Put)
	kept := rules[:0]
	for _, r := range rules {
		var named struct {
			Name string `json:"name"`
		}
		if err := json.Unmarshal(r, &named); err != nil {
			return nil, fmt.Errorf("rule of the group: %w", err)
		}
		if slices.Contains(plan.Delete, named.Name) {
			continue
		}
		if i := slices.IndexFunc(puts, func(p nsg.Rule) bool { return p.Name == named.Name }); i >= 0 {
			var err error
			if r, err = json.Marshal(writeRule(puts[i])); err != nil {
				return nil, err
			}
			puts = slices.Delete(puts, i, i+1)
		}
		kept = append(kept, r)
	}
	for _, p := range puts {
		r, err := json.Marshal(writeRule(p))
		if err != nil {
			return nil, err
		}
		kept = append(kept, r)
	}
	var err error
	if properties["securityRules"], err = json.Marshal(kept); err != nil {
		return nil, err
	}
	if whole["properties"], err = json.Marshal(properties); err != nil {
		return nil, err
	}
	return json.Marshal(whole)
}
