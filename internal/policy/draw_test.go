package policy

import (
	"net/netip"
	"time"

	"pgregory.net/rapid"

	"jitgate/internal/armid"
)

const (
	groupA = "aaaaaaaa-0000-4000-8000-000000000001"
	groupB = "bbbbbbbb-0000-4000-8000-000000000002"
	alice  = "cccccccc-0000-4000-8000-000000000003"
	bob    = "dddddddd-0000-4000-8000-000000000004"
	runner = "eeeeeeee-0000-4000-8000-000000000005"
	// fabrikam is a tenant that is not home.
	fabrikam = "ffffffff-0000-4000-8000-000000000006"
)

// drawDocument draws a valid document. Its parts come from small pools, so that
// documents and questions often meet.
func drawDocument(t *rapid.T) Document {
	d := Document{APIVersion: APIVersion}
	scope := rapid.SampledFrom([]string{"tenant", subscription, group, machine, subscription + "/resourceGroups/Größe_(1).x-y"}).Draw(t, "scope")
	if err := d.Scope.UnmarshalText([]byte(scope)); err != nil {
		t.Fatal(err)
	}
	maybe := func(what string, do func()) {
		if rapid.IntRange(0, 3).Draw(t, what) == 0 {
			do()
		}
	}
	maybe("tags", func() {
		d.Tags = rapid.MapOfN(rapid.SampledFrom([]string{"env", "Tier", "on call", "no"}), rapid.SampledFrom([]string{"prod", "test", "1", "true", "x: y"}), 1, 3).Draw(t, "which tags")
	})
	d.Enforced = rapid.Bool().Draw(t, "enforced")
	if !d.Enforced || rapid.Bool().Draw(t, "ports") {
		for _, n := range rapid.SliceOfNDistinct(rapid.SampledFrom([]uint16{1, 22, 53, 3389, 65535}), 1, 5, rapid.ID[uint16]).Draw(t, "numbers") {
			d.Ports = append(d.Ports, Port{n, rapid.SampledFrom([]Protocol{TCP, UDP, AnyProtocol}).Draw(t, "protocol")})
		}
	}
	if !d.Enforced || rapid.Bool().Draw(t, "sources") {
		for _, p := range rapid.SliceOfNDistinct(rapid.OneOf(rapid.Custom(drawPrefix), rapid.Just(netip.MustParsePrefix("203.0.113.0/24"))), 1, 4, rapid.ID[netip.Prefix]).Draw(t, "ranges") {
			d.Sources = append(d.Sources, Source{p, rapid.IntRange(p.Bits(), p.Addr().BitLen()).Draw(t, "widest")})
		}
	}
	d.MaxDuration = Duration(rapid.Int64Range(int64(MinDuration/time.Second), int64(MaxDuration/time.Second)).Draw(t, "seconds")) * Duration(time.Second)
	maybe("default", func() {
		if d.Enforced {
			return
		}
		d.DefaultDuration = Duration(rapid.Int64Range(int64(MinDuration), int64(d.MaxDuration)).Draw(t, "default duration")).whole()
	})
	maybe("extensions", func() {
		n := rapid.IntRange(0, maxExtensions).Draw(t, "extensions allowed")
		d.Extensions = &n
	})
	maybe("requesters", func() { d.Requesters = drawRequesters(t) })
	maybe("justification", func() {
		d.Justification = rapid.SampledFrom([]*JustificationRule{
			{Required: true}, {Required: true, Message: "Say why."}, {Pattern: "^(INC|CHG)-[0-9]+"}, {Required: true, Pattern: `\bINC-\d{1,9}\b "#:`, Message: "Start with a ticket, INC-… or CHG-….\\"},
		}).Draw(t, "rule")
	})
	maybe("approval", func() {
		d.Approval = &ApprovalRule{Quorum: rapid.IntRange(1, maxQuorum).Draw(t, "quorum"), Within: Duration(rapid.IntRange(5, 600).Draw(t, "within")) * Duration(time.Minute)}
		maybe("approvers", func() { p := drawPrincipals(t, false); d.Approval.Approvers = &p })
	})
	maybe("windows", func() { d.Windows = rapid.SliceOfN(rapid.Custom(drawWindow), 1, 3).Draw(t, "which windows") })
	maybe("maintenance", func() {
		from := drawInstant(t)
		d.Maintenance = []Period{{from, from.Add(time.Duration(rapid.IntRange(1, 5000).Draw(t, "minutes")) * time.Minute)}}
	})
	maybe("conditions", func() {
		d.Conditions = rapid.SliceOfN(rapid.SampledFrom([]Condition{
			{`request.duration <= duration("1h") || "` + groupA + `" in requester.groups`, "At most an hour."},
			{`machine.tags["env"] != "prod"`, "Not in production."},
			{"!requester.application &&\n  request.ports.all(p, p.port > 20)", "People only."},
			{`time.getDayOfWeek("Europe/Berlin") != 0`, "Not on a Sunday."},
		}), 1, 3).Draw(t, "which conditions")
	})
	maybe("break glass", func() {
		d.BreakGlass = &BreakGlassRule{Requesters: drawPrincipals(t, false), ReviewWithin: Duration(rapid.IntRange(1, 700).Draw(t, "review")) * Duration(time.Hour)}
	})
	if d.Enforced {
		return d
	}
	d.Interfaces = rapid.SampledFrom([]Interfaces{"", AllInterfaces}).Draw(t, "interfaces")
	d.Reach = rapid.SampledFrom([]Reach{"", AnyReach}).Draw(t, "reach")
	d.FlushConnection = rapid.Bool().Draw(t, "flush")
	return d
}

func (d Duration) whole() Duration {
	return max(d/Duration(time.Second)*Duration(time.Second), Duration(MinDuration))
}

func drawRequesters(t *rapid.T) *Requesters {
	r := Requesters{Principals: drawPrincipals(t, true)}
	if tenants := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{Home, fabrikam, groupB}), 0, 2, rapid.ID[string]).Draw(t, "tenants"); len(tenants) > 0 {
		r.Tenants = tenants
		if rapid.Bool().Draw(t, "whoever is of them") {
			r.Principals = Principals{}
		}
	}
	return &r
}

func drawPrincipals(t *rapid.T, applications bool) Principals {
	some := func(what string, from ...string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(from), 0, 2, rapid.ID[string]).Draw(t, what)
	}
	p := Principals{Roles: some("roles", "Jit.Request", "Jit.Oncall", "no", "1"), Groups: some("groups", groupA, groupB), Users: some("users", alice, bob)}
	if applications {
		p.Applications = some("applications", runner)
	}
	for _, list := range []*[]string{&p.Roles, &p.Groups, &p.Users, &p.Applications} {
		if len(*list) == 0 {
			*list = nil // as it reads back
		}
	}
	if p.empty() {
		p.Groups = []string{groupA}
	}
	return p
}

func drawWindow(t *rapid.T) Window {
	clock := rapid.Custom(func(t *rapid.T) string {
		return time.Time{}.Add(time.Duration(rapid.IntRange(0, 1439).Draw(t, "minute")) * time.Minute).Format("15:04")
	})
	w := Window{Zone: rapid.SampledFrom([]string{"Europe/Berlin", "America/New_York", "UTC", "Asia/Kathmandu", "Australia/Lord_Howe"}).Draw(t, "zone"), From: clock.Draw(t, "from"), To: clock.Draw(t, "to")}
	on := rapid.SliceOfN(rapid.Bool(), 7, 7).Draw(t, "days")
	for i, day := range weekdays {
		if on[i] {
			w.Days = append(w.Days, day)
		}
	}
	if len(w.Days) == 7 {
		w.Days = nil
	}
	return w
}

// drawInstant is mostly near a change of the clocks.
func drawInstant(t *rapid.T) time.Time {
	near := rapid.SampledFrom([]string{
		"2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z", // Europe/Berlin
		"2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z", // America/New_York
		"2026-04-04T15:00:00Z", "2026-10-03T15:30:00Z", // Australia/Lord_Howe, by half an hour
		"2026-06-17T12:00:00Z",
	}).Draw(t, "near")
	at, err := time.Parse(time.RFC3339, near)
	if err != nil {
		t.Fatal(err)
	}
	return at.Add(time.Duration(rapid.IntRange(-3*1440, 3*1440).Draw(t, "minutes away")) * time.Minute)
}

func drawQuestion(t *rapid.T) Question {
	q := Question{
		Ask: Ask{
			VM:       armid.MustParse(machine),
			Ports:    rapid.SliceOfNDistinct(rapid.SampledFrom([]Port{{22, TCP}, {3389, TCP}, {53, UDP}, {1, AnyProtocol}}), 0, 2, rapid.ID[Port]).Draw(t, "asked"),
			Source:   rapid.SampledFrom([]netip.Prefix{{}, netip.MustParsePrefix("203.0.113.7/32"), netip.MustParsePrefix("203.0.113.0/28"), netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("2001:db8::1/128")}).Draw(t, "source"),
			Duration: time.Duration(rapid.IntRange(1, 1500).Draw(t, "duration")) * time.Minute,
		},
		Justification: rapid.SampledFrom([]string{"", "INC-7 disk full", "because"}).Draw(t, "justification"),
		Tags:          rapid.SampledFrom([]map[string]string{nil, {"ENV": "prod", "tier": "1"}, {"Env": "test"}}).Draw(t, "tags of the machine"),
		At:            drawInstant(t),
	}
	q.Requester = Subject{Object: rapid.SampledFrom([]string{alice, bob, runner, ""}).Draw(t, "who"), Name: "Somebody"}
	q.Requester.Application = q.Requester.Object == runner
	if rapid.IntRange(0, 3).Draw(t, "guest") == 0 {
		q.Requester.Tenant, q.Requester.Guest = fabrikam, true
	}
	q.Requester.Roles = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"Jit.Request", "Jit.Oncall"}), 0, 2, rapid.ID[string]).Draw(t, "roles")
	q.Requester.Groups = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{groupA, groupB}), 0, 2, rapid.ID[string]).Draw(t, "groups")
	return q
}

func drawPrefix(t *rapid.T) netip.Prefix {
	a := netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "v4")))
	if rapid.Bool().Draw(t, "v6") {
		a = netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "v6"))).Unmap()
	}
	return netip.PrefixFrom(a, rapid.IntRange(0, a.BitLen()).Draw(t, "bits")).Masked()
}
