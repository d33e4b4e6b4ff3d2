package arm

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"

	"jitgate/internal/nsg"
)

// notInForce replaces the protocol of a rule of ours whose last write Azure did
// not bring to an end (provisioningState Failed or Canceled). Such a rule is in
// the list but nobody knows whether it filters. With a protocol that does not
// exist it means the same as no other rule, so the planner writes it again at its
// priority; and a verdict that comes across it says that it cannot judge, instead
// of counting on it. Name, description and priority stay readable for the sweep.
const notInForce nsg.Protocol = "not in force"

// readRule merges ARM's singular and plural fields.
func readRule(r *armnetwork.SecurityRule) nsg.Rule {
	p := r.Properties
	if p == nil {
		p = &armnetwork.SecurityRulePropertiesFormat{}
	}
	rule := nsg.Rule{
		Name:             text(r.Name),
		Description:      text(p.Description),
		Direction:        nsg.Direction(spelled(p.Direction, armnetwork.PossibleSecurityRuleDirectionValues())),
		Access:           nsg.Access(spelled(p.Access, armnetwork.PossibleSecurityRuleAccessValues())),
		Protocol:         nsg.Protocol(spelled(p.Protocol, armnetwork.PossibleSecurityRuleProtocolValues())),
		Sources:          merge(p.SourceAddressPrefix, p.SourceAddressPrefixes),
		SourcePorts:      merge(p.SourcePortRange, p.SourcePortRanges),
		Destinations:     merge(p.DestinationAddressPrefix, p.DestinationAddressPrefixes),
		DestinationPorts: merge(p.DestinationPortRange, p.DestinationPortRanges),
		SourceASGs:       asgIDs(p.SourceApplicationSecurityGroups),
		DestinationASGs:  asgIDs(p.DestinationApplicationSecurityGroups),
	}
	if p.Priority != nil {
		rule.Priority = int(*p.Priority)
	}
	if ours(rule.Name) && is(p.ProvisioningState, armnetwork.ProvisioningStateFailed, armnetwork.ProvisioningStateCanceled) {
		rule.Protocol = notInForce
	}
	return rule
}

func ours(name string) bool { return strings.HasPrefix(name, nsg.Prefix) }

// writeRule is the inverse. One value goes into the singular field and several
// into the plural one, because ARM refuses a rule that has both and refuses "*"
// and service tags in plural fields (SecurityRuleParameterContainsUnsupportedValue).
func writeRule(r nsg.Rule) *armnetwork.SecurityRule {
	p := &armnetwork.SecurityRulePropertiesFormat{
		Access:                               to.Ptr(armnetwork.SecurityRuleAccess(r.Access)),
		Direction:                            to.Ptr(armnetwork.SecurityRuleDirection(r.Direction)),
		Protocol:                             to.Ptr(armnetwork.SecurityRuleProtocol(r.Protocol)),
		Priority:                             to.Ptr(int32(r.Priority)),
		SourceApplicationSecurityGroups:      asgs(r.SourceASGs),
		DestinationApplicationSecurityGroups: asgs(r.DestinationASGs),
	}
	if r.Description != "" {
		p.Description = to.Ptr(r.Description)
	}
	p.SourceAddressPrefix, p.SourceAddressPrefixes = split(r.Sources)
	p.SourcePortRange, p.SourcePortRanges = split(r.SourcePorts)
	p.DestinationAddressPrefix, p.DestinationAddressPrefixes = split(r.Destinations)
	p.DestinationPortRange, p.DestinationPortRanges = split(r.DestinationPorts)
	return &armnetwork.SecurityRule{Name: to.Ptr(r.Name), Properties: p}
}

// encodeRule gives the body that writes a rule. One that carries Verbatim goes back
// as just that, except that it may have been given another priority.
func encodeRule(r nsg.Rule) ([]byte, error) {
	if r.Verbatim == nil {
		return encode(writeRule(r))
	}
	var p map[string]json.RawMessage
	err := json.Unmarshal(r.Verbatim, &p)
	if err == nil && p == nil {
		err = errors.New("it is null")
	}
	if err != nil {
		return nil, fmt.Errorf("what was kept of rule %s is not a JSON object; restore the rule by hand: %w", r.Name, err)
	}
	var priority int
	if err := json.Unmarshal(p["priority"], &priority); err != nil || priority != r.Priority {
		p["priority"] = json.RawMessage(strconv.Itoa(r.Priority))
	}
	return encode(map[string]any{"name": r.Name, "properties": p})
}

func readRules(rules []*armnetwork.SecurityRule) []nsg.Rule {
	out := make([]nsg.Rule, 0, len(rules))
	for _, r := range rules {
		if r != nil {
			out = append(out, readRule(r))
		}
	}
	return out
}

func merge(one *string, many []*string) []string {
	var list []string
	if one != nil && *one != "" {
		list = append(list, *one)
	}
	for _, s := range many {
		if s != nil && *s != "" {
			list = append(list, *s)
		}
	}
	return list
}

func split(list []string) (one *string, many []*string) {
	switch len(list) {
	case 0:
		return nil, nil
	case 1:
		return to.Ptr(list[0]), nil
	}
	return nil, to.SliceOfPtrs(list...)
}

func asgIDs(groups []*armnetwork.ApplicationSecurityGroup) []string {
	var ids []string
	for _, g := range groups {
		if g != nil && g.ID != nil {
			ids = append(ids, *g.ID)
		}
	}
	return ids
}

func asgs(ids []string) []*armnetwork.ApplicationSecurityGroup {
	var groups []*armnetwork.ApplicationSecurityGroup
	for _, id := range ids {
		groups = append(groups, &armnetwork.ApplicationSecurityGroup{ID: to.Ptr(id)})
	}
	return groups
}

// spelled gives an enum's own spelling of a value in any case; ARM compares
// without regard to case. A value it does not know passes unchanged.
func spelled[T ~string](value *T, known []T) T {
	if value == nil {
		return ""
	}
	for _, k := range known {
		if strings.EqualFold(string(k), string(*value)) {
			return k
		}
	}
	return *value
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func is[T ~string](value *T, any ...T) bool {
	for _, v := range any {
		if value != nil && strings.EqualFold(string(*value), string(v)) {
			return true
		}
	}
	return false
}
