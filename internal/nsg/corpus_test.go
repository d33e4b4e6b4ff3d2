package nsg_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"jitgate/internal/local/arm"
	"jitgate/internal/nsg"
)

// estate is one file of the corpus: groups as people and products write them, and
// what Azure's documentation says of packets that meet them.
type estate struct {
	Shows          string              `yaml:"shows"`
	VirtualNetwork []string            `yaml:"virtualNetwork"` // empty: not known
	ASGs           map[string][]string `yaml:"asgs"`           // members by name; one that rules name and this does not is not known
	Machine        string              `yaml:"machine"`        // where packets go that do not say otherwise
	Subnet         *rules              `yaml:"subnet"`
	Interface      *rules              `yaml:"interface"`
	// Refused says that the stand-in does not take the rules, which Azure may have
	// stored all the same.
	Refused   bool       `yaml:"refused"`
	Verdicts  []verdict  `yaml:"verdicts"`
	Exposures []exposure `yaml:"exposures"`
}

type rules struct {
	Rules []writtenRule `yaml:"rules"`
}

// writtenRule has ARM's own fields. Repeat stands for so many rules of rising
// priority, in whose texts {n} is the number from 0, {hi} and {lo} are its halves.
type writtenRule struct {
	arm.Rule `yaml:",inline"`
	Repeat   int `yaml:"repeat"`
}

// verdict says what happens to a packet. On is "22/Tcp", or "Icmp" alone. Is is
// allow, deny or depends; By names the deciding rule of each group on the way.
type verdict struct {
	From    string            `yaml:"from"`
	To      string            `yaml:"to"`
	On      string            `yaml:"on"`
	Is      string            `yaml:"is"`
	By      string            `yaml:"by"`
	Depends string            `yaml:"depends"`
	Why     map[string]string `yaml:"why"`
}

// exposure says what of a space gets through. From is internet, virtualNetwork
// or a prefix. Where two groups are on the way, rules are named subnet/rule and
// interface/rule. Allowed is given for partly; open means all of the space.
type exposure struct {
	From    string   `yaml:"from"`
	To      string   `yaml:"to"`
	On      string   `yaml:"on"`
	Reach   string   `yaml:"reach"`
	Allowed []string `yaml:"allowed"`
	By      string   `yaml:"by"`
	Depends string   `yaml:"depends"`
}

func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/corpus/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	groups, exposed, probed := 0, 0, 0
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			e := readEstate(t, file)
			c := e.build(t)
			groups += len(c.groups)
			if len(e.Exposures) > 0 {
				exposed++
			}
			server := c.load(t, e)
			for _, v := range e.Verdicts {
				if c.check(t, v, server) {
					probed++
				}
			}
			for _, x := range e.Exposures {
				c.checkExposure(t, x)
			}
		})
	}
	t.Logf("%d groups, %d files with exposures, %d packets held against the stand-in", groups, exposed, probed)
	if groups < 44 || exposed < 15 || probed < 150 {
		t.Errorf("the corpus holds %d groups, %d files with exposures and %d packets for the stand-in", groups, exposed, probed)
	}
}

func readEstate(t *testing.T, file string) estate {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var e estate
	if err := yaml.UnmarshalWithOptions(text, &e, yaml.Strict()); err != nil {
		t.Fatal(yaml.FormatError(err, false, true))
	}
	if e.Shows == "" || len(e.Verdicts) == 0 {
		t.Fatal("a file must say what it shows and expect something")
	}
	return e
}

// built is an estate as our types have it.
type built struct {
	s       nsg.Surroundings
	machine netip.Addr
	groups  []nsg.Group
	kinds   []string // of groups: subnet, interface
	written [][]arm.Rule
	asgs    map[string]bool // that rules name
}

func (e estate) build(t *testing.T) *built {
	t.Helper()
	c := &built{machine: netip.MustParseAddr(e.Machine), asgs: map[string]bool{}}
	for _, text := range e.VirtualNetwork {
		c.s.VirtualNetwork = append(c.s.VirtualNetwork, netip.MustParsePrefix(text))
	}
	c.s.ASGMembers = map[string][]netip.Addr{}
	for name, members := range e.ASGs {
		c.s.ASGMembers[strings.ToLower(asgPath+name)] = addresses(strings.Join(members, " "))
	}
	for _, level := range []struct {
		kind  string
		rules *rules
	}{{"subnet", e.Subnet}, {"interface", e.Interface}} {
		if level.rules == nil {
			continue
		}
		g := nsg.Group{ID: groupPath + "/providers/Microsoft.Network/networkSecurityGroups/" + level.kind, Defaults: defaultRules()}
		var written []arm.Rule
		for _, w := range level.rules.Rules {
			for n := range max(1, w.Repeat) {
				r := w.Rule
				if w.Repeat > 0 {
					r = numbered(r, n)
				}
				written = append(written, r)
				g.Rules = append(g.Rules, c.ours(r))
			}
		}
		c.groups, c.kinds, c.written = append(c.groups, g), append(c.kinds, level.kind), append(c.written, written)
	}
	return c
}

func numbered(r arm.Rule, n int) arm.Rule {
	fill := strings.NewReplacer("{n}", strconv.Itoa(n), "{hi}", strconv.Itoa(n/256), "{lo}", strconv.Itoa(n%256)).Replace
	r.Priority += n
	for _, text := range []*string{&r.Name, &r.SourceAddressPrefix, &r.DestinationAddressPrefix, &r.DestinationPortRange} {
		*text = fill(*text)
	}
	for _, list := range []*[]string{&r.SourceAddressPrefixes, &r.DestinationAddressPrefixes, &r.DestinationPortRanges} {
		filled := slices.Clone(*list)
		for i := range filled {
			filled[i] = fill(filled[i])
		}
		*list = filled
	}
	return r
}

// ours merges ARM's singular and plural fields.
func (c *built) ours(r arm.Rule) nsg.Rule {
	merged := func(one string, many []string) []string {
		if one != "" {
			return append([]string{one}, many...)
		}
		return many
	}
	ids := func(names []string) (list []string) {
		for _, name := range names {
			c.asgs[name] = true
			list = append(list, asgPath+name)
		}
		return list
	}
	return nsg.Rule{
		Name: r.Name, Description: r.Description, Priority: r.Priority,
		Direction: nsg.Direction(r.Direction), Access: nsg.Access(r.Access), Protocol: nsg.Protocol(r.Protocol),
		Sources:          merged(r.SourceAddressPrefix, r.SourceAddressPrefixes),
		SourcePorts:      merged(r.SourcePortRange, r.SourcePortRanges),
		Destinations:     merged(r.DestinationAddressPrefix, r.DestinationAddressPrefixes),
		DestinationPorts: merged(r.DestinationPortRange, r.DestinationPortRanges),
		SourceASGs:       ids(r.SourceApplicationSecurityGroups),
		DestinationASGs:  ids(r.DestinationApplicationSecurityGroups),
	}
}

// load puts the same rules into the stand-in: one subnet for each range of the
// network, the machine and one more for each other member of a group. It gives
// nil if the stand-in cannot judge the estate.
func (c *built) load(t *testing.T, e estate) *arm.Server {
	t.Helper()
	if len(c.s.VirtualNetwork) == 0 {
		return nil
	}
	rg := arm.ResourceGroup{Name: "rg", Location: "westeurope"}
	for name := range c.asgs {
		rg.ASGs = append(rg.ASGs, name)
	}
	attached := map[string]string{}
	for i, kind := range c.kinds {
		rg.NSGs = append(rg.NSGs, arm.SecurityGroup{Name: kind, Rules: c.written[i]})
		attached[kind] = kind
	}
	network := arm.VirtualNetwork{Name: "net", Space: e.VirtualNetwork}
	subnetOf := func(a netip.Addr) string {
		return fmt.Sprint("net/sub-", slices.IndexFunc(c.s.VirtualNetwork, func(p netip.Prefix) bool { return p.Contains(a) }))
	}
	for i, p := range c.s.VirtualNetwork {
		sub := arm.Subnet{Name: fmt.Sprint("sub-", i), Prefix: p.String()}
		if p.Contains(c.machine) {
			sub.NSG = attached["subnet"]
		}
		network.Subnets = append(network.Subnets, sub)
	}
	rg.VNets = []arm.VirtualNetwork{network}
	memberships := map[netip.Addr][]string{c.machine: nil}
	for name, members := range e.ASGs {
		for _, text := range members {
			a := netip.MustParseAddr(text)
			memberships[a] = append(memberships[a], name)
		}
	}
	for a, names := range memberships {
		nic := arm.Interface{Name: "nic-" + strings.ReplaceAll(a.String(), ":", "-") + "-x", Subnet: subnetOf(a), Private: a.String(), ASGs: names}
		name := "vm-" + nic.Name
		if a == c.machine {
			name, nic.NSG = "machine", attached["interface"]
		}
		rg.VMs = append(rg.VMs, arm.VirtualMachine{Name: name, NICs: []arm.Interface{nic}})
	}
	server, err := arm.New(arm.Options{Topology: arm.Topology{Subscriptions: []arm.Subscription{{
		ID: "00000000-0000-0000-0000-000000000001", Name: "corpus", ResourceGroups: []arm.ResourceGroup{rg}}}}})
	if (err != nil) != e.Refused {
		t.Fatalf("the stand-in refuses the rules: %v, expected: %v", err, e.Refused)
	}
	return server
}

// check holds one packet against Path, Explain and, if it was probed, the stand-in.
func (c *built) check(t *testing.T, v verdict, server *arm.Server) (probed bool) {
	t.Helper()
	asked := portsOf(t, v.On)
	p := nsg.Packet{Source: netip.MustParseAddr(v.From), Destination: c.machine, Port: asked.First, Protocol: asked.Protocol}
	if v.To != "" {
		p.Destination = netip.MustParseAddr(v.To)
	}
	what := fmt.Sprintf("%s to %s on %s", v.From, p.Destination, v.On)
	open, steps := nsg.Path(p, c.s, c.groups...)
	var by, depends []string
	judged, shut := true, false
	for i, step := range steps {
		by = append(by, step.Rule.Name)
		judged = judged && step.Sure()
		shut = shut || step.Access == nsg.Deny && step.Sure()
		for _, r := range step.Depends {
			depends = append(depends, r.Name)
		}
		c.checkSteps(t, what, c.groups[i], p, step, v.Why)
	}
	is := "depends"
	switch {
	case shut:
		is = "deny"
	case judged && open:
		is = "allow"
	}
	if is != v.Is || strings.Join(by, ", ") != v.By || strings.Join(depends, ", ") != v.Depends {
		t.Errorf("%s: %s by %q, depends on %q; want %s by %q, depends on %q", what, is, strings.Join(by, ", "), strings.Join(depends, ", "), v.Is, v.By, v.Depends)
	}
	if server == nil || !judged || p.Destination != c.machine {
		return false
	}
	theirs, err := server.Probe(arm.Packet{VM: "machine", Source: p.Source, Port: p.Port, Protocol: string(p.Protocol)})
	if err != nil {
		t.Fatal(err)
	}
	if !agree(open, steps, theirs) {
		t.Errorf("%s: the stand-in says %+v", what, theirs)
	}
	return true
}

// checkSteps expects the explanation to end where the verdict comes from, to be
// unsure about what the verdict depends on, and to give the reasons asked for.
func (c *built) checkSteps(t *testing.T, what string, g nsg.Group, p nsg.Packet, v nsg.Verdict, why map[string]string) {
	t.Helper()
	steps := g.Explain(p, c.s)
	var depends []nsg.Rule
	for i, step := range steps {
		if step.Matches == nsg.Unknown {
			depends = append(depends, step.Rule)
		}
		if (step.Matches == nsg.Yes) != (i == len(steps)-1) {
			t.Errorf("%s: step %d, %s, matches: %s", what, i, step.Rule.Name, step.Matches)
		}
		if want, asked := why[step.Rule.Name]; asked && step.Why != want {
			t.Errorf("%s: %s, because %q; want %q", what, step.Rule.Name, step.Why, want)
		}
	}
	if diff := cmp.Diff(v.Depends, depends); diff != "" {
		t.Errorf("%s: explained by other unknown rules: %s", what, diff)
	}
	if last := steps[len(steps)-1]; last.Rule.Name != v.Rule.Name {
		t.Errorf("%s: explained by %s, decided by %s", what, last.Rule.Name, v.Rule.Name)
	}
}

func (c *built) checkExposure(t *testing.T, x exposure) {
	t.Helper()
	var space nsg.Space
	switch x.From {
	case "internet":
		space = nsg.Internet(c.s)
	case "virtualNetwork":
		space = nsg.InVirtualNetwork(c.s)
	default:
		space = nsg.From(netip.MustParsePrefix(x.From))
	}
	to := c.machine
	if x.To != "" {
		to = netip.MustParseAddr(x.To)
	}
	e := nsg.Expose(space, to, portsOf(t, x.On), c.s, c.groups...)
	names := func(list []nsg.Decider) string {
		var all []string
		for _, d := range list {
			name := d.Rule.Name
			if len(c.groups) > 1 {
				name = d.Group[strings.LastIndexByte(d.Group, '/')+1:] + "/" + name
			}
			all = append(all, name)
		}
		return strings.Join(all, ", ")
	}
	what := fmt.Sprintf("%s on %s", x.From, x.On)
	if string(e.Reach) != x.Reach || names(e.By) != x.By || names(e.Depends) != x.Depends {
		t.Errorf("%s: %s by %q, depends on %q; want %s by %q, depends on %q", what, e.Reach, names(e.By), names(e.Depends), x.Reach, x.By, x.Depends)
	}
	if x.Reach == string(nsg.Open) {
		x.Allowed = same(space.Prefixes(), to)
	}
	var allowed []string
	for _, p := range e.Allowed {
		allowed = append(allowed, p.String())
	}
	if diff := cmp.Diff(x.Allowed, allowed, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s: allowed: %s", what, diff)
	}
}

// same writes out the prefixes of the family of an address.
func same(prefixes []netip.Prefix, a netip.Addr) (list []string) {
	for _, p := range prefixes {
		if p.Addr().BitLen() == a.BitLen() {
			list = append(list, p.String())
		}
	}
	return list
}

// portsOf reads "22/Tcp", "20-25/*" or "Icmp".
func portsOf(t *testing.T, on string) nsg.PortRange {
	t.Helper()
	run, protocol, found := strings.Cut(on, "/")
	if !found {
		return nsg.PortRange{Protocol: nsg.Protocol(on)}
	}
	first, last, isRange := strings.Cut(run, "-")
	if !isRange {
		last = first
	}
	from, err1 := strconv.ParseUint(first, 10, 16)
	to, err2 := strconv.ParseUint(last, 10, 16)
	if err1 != nil || err2 != nil {
		t.Fatalf("%q are no ports", on)
	}
	return nsg.PortRange{Protocol: nsg.Protocol(protocol), First: uint16(from), Last: uint16(to)}
}
