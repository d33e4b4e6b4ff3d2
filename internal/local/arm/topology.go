package arm

import (
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
)

//go:embed topology.yaml
var demo []byte

// DemoTopology returns the YAML of the estate that the local stack starts with.
func DemoTopology() []byte { return append([]byte(nil), demo...) }

// Topology is the estate a stand-in is loaded with. References between resources
// are plain names within the same resource group or full ARM ids.
type Topology struct {
	Subscriptions []Subscription `yaml:"subscriptions"`
	// RoleAssignments are what Azure RBAC gives; nothing here enforces it.
	RoleAssignments []RoleAssignment `yaml:"roleAssignments"`
	// Groups of the directory: ids of members by id of the group. A member that is
	// a group itself brings its own members.
	Groups map[string][]string `yaml:"groups"`
}

// RoleAssignment gives a principal, by object id, a role, by the GUID of its
// definition. Scope is a full id: "/", a management group, a subscription, a resource
// group or a machine. A management group lies above every subscription here.
type RoleAssignment struct {
	Scope     string `yaml:"scope"`
	Principal string `yaml:"principal"`
	Role      string `yaml:"role"`
	Condition string `yaml:"condition"` // empty for none
}

// Subscription is one subscription; ID must be a UUID.
type Subscription struct {
	ID             string          `yaml:"id"`
	Name           string          `yaml:"name"`
	ResourceGroups []ResourceGroup `yaml:"resourceGroups"`
}

// ResourceGroup holds resources; they all take its location.
type ResourceGroup struct {
	Name      string           `yaml:"name"`
	Location  string           `yaml:"location"`
	ASGs      []string         `yaml:"asgs"`
	NSGs      []SecurityGroup  `yaml:"nsgs"`
	VNets     []VirtualNetwork `yaml:"vnets"`
	PublicIPs []PublicIP       `yaml:"publicIPs"`
	VMs       []VirtualMachine `yaml:"vms"`
}

// SecurityGroup is a network security group with its own rules; the six default
// rules are added by themselves.
type SecurityGroup struct {
	Name  string            `yaml:"name"`
	Tags  map[string]string `yaml:"tags"`
	Rules []Rule            `yaml:"rules"`
}

// Rule is a security rule in ARM's own field names and values. Application
// security groups are given by name or id. The JSON form is what goes into
// "properties" once the groups are resolved.
type Rule struct {
	Name                                 string   `yaml:"name" json:"-"`
	Description                          string   `yaml:"description" json:"description,omitempty"`
	Priority                             int      `yaml:"priority" json:"priority"`
	Direction                            string   `yaml:"direction" json:"direction"`
	Access                               string   `yaml:"access" json:"access"`
	Protocol                             string   `yaml:"protocol" json:"protocol"`
	SourceAddressPrefix                  string   `yaml:"sourceAddressPrefix" json:"sourceAddressPrefix,omitempty"`
	SourceAddressPrefixes                []string `yaml:"sourceAddressPrefixes" json:"sourceAddressPrefixes,omitempty"`
	SourceApplicationSecurityGroups      []string `yaml:"sourceApplicationSecurityGroups" json:"-"`
	SourcePortRange                      string   `yaml:"sourcePortRange" json:"sourcePortRange,omitempty"`
	SourcePortRanges                     []string `yaml:"sourcePortRanges" json:"sourcePortRanges,omitempty"`
	DestinationAddressPrefix             string   `yaml:"destinationAddressPrefix" json:"destinationAddressPrefix,omitempty"`
	DestinationAddressPrefixes           []string `yaml:"destinationAddressPrefixes" json:"destinationAddressPrefixes,omitempty"`
	DestinationApplicationSecurityGroups []string `yaml:"destinationApplicationSecurityGroups" json:"-"`
	DestinationPortRange                 string   `yaml:"destinationPortRange" json:"destinationPortRange,omitempty"`
	DestinationPortRanges                []string `yaml:"destinationPortRanges" json:"destinationPortRanges,omitempty"`
}

// VirtualNetwork is an address space with subnets inside. A name in Peers makes
// the peering of both networks, as the portal does; naming it on the other side
// too changes nothing.
type VirtualNetwork struct {
	Name    string            `yaml:"name"`
	Tags    map[string]string `yaml:"tags"`
	Space   []string          `yaml:"space"`
	Subnets []Subnet          `yaml:"subnets"`
	Peers   []string          `yaml:"peers"`
}

// Subnet may carry an NSG that every machine in it shares.
type Subnet struct {
	Name   string `yaml:"name"`
	Prefix string `yaml:"prefix"`
	NSG    string `yaml:"nsg"`
}

// PublicIP is a static public address.
type PublicIP struct {
	Name    string `yaml:"name"`
	Address string `yaml:"address"`
}

// VirtualMachine needs at least one NIC; the first one is the primary.
type VirtualMachine struct {
	Name string            `yaml:"name"`
	OS   string            `yaml:"os"` // Linux (default) or Windows
	Tags map[string]string `yaml:"tags"`
	NICs []Interface       `yaml:"nics"`
}

// Interface is a NIC. Subnet is "vnet/subnet" or a full id. Without Private the
// first IP configuration has no address, as while Azure still has to allocate one.
// Secondary addresses become further IP configurations in the same subnet. With
// LoadBalanced the first one is the target of a load balancer's inbound NAT rule,
// which is a reference and nothing more: there is no load balancer to ask for.
type Interface struct {
	Name         string   `yaml:"name"`
	Subnet       string   `yaml:"subnet"`
	Private      string   `yaml:"private"`
	Secondary    []string `yaml:"secondary"`
	PublicIP     string   `yaml:"publicIP"`
	LoadBalanced bool     `yaml:"loadBalanced"`
	NSG          string   `yaml:"nsg"`
	ASGs         []string `yaml:"asgs"`
}

// ParseTopology reads the YAML form. Unknown and repeated keys are refused, and so
// is an estate that Azure could not hold; the error gives the line.
func ParseTopology(text []byte) (Topology, error) {
	var t Topology
	if err := yaml.UnmarshalWithOptions(text, &t, yaml.Strict()); err != nil {
		return Topology{}, fmt.Errorf("topology: %s", yaml.FormatError(err, false, false))
	}
	if _, err := build(t); err != nil {
		return Topology{}, fmt.Errorf("topology: %s%w", lineOf(text, err), err)
	}
	return t, nil
}

// lineOf finds the line of the entry that a build error points at, as "line N: ",
// or nothing when the entry is not in the text.
func lineOf(text []byte, err error) string {
	var at *entryError
	if !errors.As(err, &at) {
		return ""
	}
	path, err := yaml.PathString(at.path)
	if err != nil {
		return ""
	}
	node, err := path.ReadNode(strings.NewReader(string(text)))
	if err != nil || node.GetToken() == nil {
		return ""
	}
	return fmt.Sprintf("line %d: ", node.GetToken().Position.Line)
}

// entryError is a fault in one entry of a topology; path is a YAML path such as
// $.subscriptions[0].resourceGroups[0].vms[2].
type entryError struct {
	path string
	err  error
}

func (e *entryError) Error() string { return e.path + ": " + e.err.Error() }
func (e *entryError) Unwrap() error { return e.err }
