package arm

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/uuid"
)

// world is the estate. Every map is keyed by the lower-cased ARM id, because ids
// differ in case from one Azure answer to the next; the resource keeps the casing
// it was created with.
type world struct {
	subscriptions map[string]*subscription // by lower-cased UUID
	groups        map[string]*resource
	machines      map[string]*machine
	interfaces    map[string]*nic
	networks      map[string]*vnet
	subnets       map[string]*subnet
	publicIPs     map[string]*publicIP
	asgs          map[string]*resource
	nsgs          map[string]*nsg
	assignments   map[string]*roleAssignment
	members       map[string][]string // lower-cased object ids, by that of the group
}

type subscription struct{ id, name string }

// resource is what every ARM resource has. State is its provisioning state.
type resource struct {
	id, name, location string
	guid, etag         string
	state              string
	tags               map[string]string
}

type machine struct {
	resource
	os   string
	nics []string // ids, primary first
}

type nic struct {
	resource
	machine   string // id, empty when detached
	primary   bool
	nsg       string
	asgs      []string
	subnet    string
	publicIP  string
	balanced  bool         // a load balancer's NAT rule leads to the first IP configuration
	addresses []netip.Addr // primary first; the zero Addr is one not allocated yet
}

type vnet struct {
	resource
	space   []netip.Prefix
	subnets []string
	peers   []*peering
}

type subnet struct {
	resource
	vnet   string
	prefix netip.Prefix
	nsg    string
	nics   []string
}

type publicIP struct {
	resource
	address netip.Addr
	nic     string // id of the IP configuration's NIC
}

func key(id string) string { return strings.ToLower(id) }

func groupID(sub, group string) string { return "/subscriptions/" + sub + "/resourceGroups/" + group }

func newETag() string { return `W/"` + uuid.NewString() + `"` }

// add puts a resource under its id, which must be new.
func add[T any](to map[string]T, path, id string, what T) error {
	if _, taken := to[key(id)]; taken {
		return &entryError{path, fmt.Errorf("%s is given twice", id)}
	}
	to[key(id)] = what
	return nil
}

// resolve finds what a reference (plain name or full id) means and returns its id
// in the casing it was created with.
func resolve[T any](in map[string]T, scope, kind, reference string, id func(T) string) (string, error) {
	full := reference
	if !strings.HasPrefix(reference, "/") {
		full = scope + "/providers/" + kind + "/" + reference
	}
	found, there := in[key(full)]
	if !there {
		return "", fmt.Errorf("there is no %s called %q", kind, reference)
	}
	return id(found), nil
}

func cidr(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return prefix, fmt.Errorf("address range: %w", err)
	}
	if prefix != prefix.Masked() {
		return prefix, fmt.Errorf("address range %s has bits set behind the mask; write %s", text, prefix.Masked())
	}
	return prefix, nil
}

func toAny(tags map[string]string) map[string]any {
	if tags == nil {
		return nil
	}
	out := make(map[string]any, len(tags))
	for k, v := range tags {
		out[k] = v
	}
	return out
}
