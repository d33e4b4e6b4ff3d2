package arm

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// maxBody is ARM's limit on a request body (azure-resource-manager limits: 4 MB).
const maxBody = 4 << 20

// call is one request with its path taken apart. values are the names in the
// path in order: subscription, resource group, resource, child.
type call struct {
	r      *http.Request
	kind   string
	base   string // scheme://host, for links back to us
	values []string
	body   []byte
}

func (c *call) subscription() string { return c.values[0] }
func (c *call) group() string        { return c.values[1] }
func (c *call) name() string         { return c.values[2] }
func (c *call) child() string        { return c.values[3] }

// link builds an absolute URL of ours with the caller's api-version.
func (c *call) link(path string, query url.Values) string {
	if query == nil {
		query = url.Values{}
	}
	query.Set("api-version", c.r.URL.Query().Get("api-version"))
	return c.base + path + "?" + query.Encode()
}

type route struct {
	kind   string
	handle func(*Server, *call) *answer
}

const (
	inGroup = "/subscriptions/*/resourcegroups/*"
	network = "/providers/microsoft.network"
	compute = "/providers/microsoft.compute"
	oneNSG  = inGroup + network + "/networksecuritygroups/*"
	oneRule = oneNSG + "/securityrules/*"

	assignments = "/providers/microsoft.authorization/roleassignments"
)

// routes maps a method and a path with its names starred out to what serves it.
var routes = map[string]route{
	"GET /subscriptions":                  {"subscription.list", (*Server).listSubscriptions},
	"GET /subscriptions/*":                {"subscription.get", (*Server).getSubscription},
	"GET /subscriptions/*/resourcegroups": {"group.list", (*Server).listGroups},
	"GET " + inGroup:                      {"group.get", (*Server).getGroup},

	"GET " + inGroup + compute + "/virtualmachines":         {"vm.list", (*Server).listMachines},
	"GET /subscriptions/*" + compute + "/virtualmachines":   {"vm.list", (*Server).listMachines},
	"GET " + inGroup + compute + "/virtualmachines/*":       {"vm.get", (*Server).getMachine},
	"DELETE " + inGroup + compute + "/virtualmachines/*":    {"vm.delete", (*Server).deleteMachine},
	"GET " + inGroup + network + "/networkinterfaces":       {"nic.list", (*Server).listInterfaces},
	"GET /subscriptions/*" + network + "/networkinterfaces": {"nic.list", (*Server).listInterfaces},
	"GET " + inGroup + network + "/networkinterfaces/*":     {"nic.get", (*Server).getInterface},
	"DELETE " + inGroup + network + "/networkinterfaces/*":  {"nic.delete", (*Server).deleteInterface},

	"GET " + inGroup + network + "/virtualnetworks":                 {"vnet.list", (*Server).listNetworks},
	"GET /subscriptions/*" + network + "/virtualnetworks":           {"vnet.list", (*Server).listNetworks},
	"GET " + inGroup + network + "/virtualnetworks/*":               {"vnet.get", (*Server).getNetwork},
	"GET " + inGroup + network + "/virtualnetworks/*/subnets":       {"subnet.list", (*Server).listSubnets},
	"GET " + inGroup + network + "/virtualnetworks/*/subnets/*":     {"subnet.get", (*Server).getSubnet},
	"GET " + inGroup + network + "/publicipaddresses":               {"publicip.list", (*Server).listPublicIPs},
	"GET /subscriptions/*" + network + "/publicipaddresses":         {"publicip.list", (*Server).listPublicIPs},
	"GET " + inGroup + network + "/publicipaddresses/*":             {"publicip.get", (*Server).getPublicIP},
	"GET " + inGroup + network + "/applicationsecuritygroups":       {"asg.list", (*Server).listASGs},
	"GET /subscriptions/*" + network + "/applicationsecuritygroups": {"asg.list", (*Server).listASGs},
	"GET " + inGroup + network + "/applicationsecuritygroups/*":     {"asg.get", (*Server).getASG},
	"GET " + inGroup + network + "/networksecuritygroups":           {"nsg.list", (*Server).listNSGs},
	"GET /subscriptions/*" + network + "/networksecuritygroups":     {"nsg.list", (*Server).listNSGs},
	"GET " + oneNSG:                    {"nsg.get", (*Server).getNSG},
	"PUT " + oneNSG:                    {"nsg.put", (*Server).putNSG},
	"PATCH " + oneNSG:                  {"nsg.patch", (*Server).patchNSG},
	"DELETE " + oneNSG:                 {"nsg.delete", (*Server).deleteNSG},
	"GET " + oneNSG + "/securityrules": {"rule.list", (*Server).listRules},
	"GET " + oneRule:                   {"rule.get", (*Server).getRule},
	"PUT " + oneRule:                   {"rule.put", (*Server).putRule},
	"DELETE " + oneRule:                {"rule.delete", (*Server).deleteRule},

	"GET /subscriptions/*" + assignments:                            {"roleassignment.list", (*Server).listRoleAssignments},
	"GET " + inGroup + assignments:                                  {"roleassignment.list", (*Server).listRoleAssignments},
	"GET " + inGroup + compute + "/virtualmachines/*" + assignments: {"roleassignment.list", (*Server).listRoleAssignments},

	"GET /subscriptions/*" + network + "/locations/*/operations/*":       {"operation.get", (*Server).getOperation},
	"GET /subscriptions/*" + compute + "/locations/*/operations/*":       {"operation.get", (*Server).getOperation},
	"GET /subscriptions/*" + network + "/locations/*/operationresults/*": {"operation.result", (*Server).getOperationResult},
	"GET /subscriptions/*" + compute + "/locations/*/operationresults/*": {"operation.result", (*Server).getOperationResult},
}

// knownPaths tells a wrong method from an unknown resource type.
var knownPaths = func() map[string]bool {
	known := map[string]bool{}
	for key := range routes {
		_, path, _ := strings.Cut(key, " ")
		known[path] = true
	}
	return known
}()

// dissect lower-cases the fixed words of an ARM path, stars the names out and
// returns them as sent. Behind "providers" comes a namespace without a name.
func dissect(escaped string) (pattern string, values []string, err error) {
	const (
		word = iota
		name
		namespace
	)
	var b strings.Builder
	expect := word
	for i, part := range strings.Split(strings.Trim(escaped, "/"), "/") {
		text, err := url.PathUnescape(part)
		if err != nil || text == "" {
			return "", nil, fmt.Errorf("path segment %d is malformed", i+1)
		}
		switch fixed := strings.ToLower(text); {
		case expect == name:
			b.WriteString("/*")
			values = append(values, text)
			expect = word
		case expect == namespace:
			b.WriteString("/" + fixed)
			expect = word
		default:
			b.WriteString("/" + fixed)
			expect = name
			if fixed == "providers" {
				expect = namespace
			}
		}
	}
	return b.String(), values, nil
}

// ServeHTTP answers ARM calls, and /probe and /control for people and scripts.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.serveControl(w, r) {
		return
	}
	kind, a := s.serve(r)
	s.log.DebugContext(r.Context(), "arm call", "method", r.Method, "path", r.URL.Path, "kind", kind, "status", a.status)
	a.write(w, r)
}

func (s *Server) serve(r *http.Request) (kind string, a *answer) {
	if a := s.authenticate(r); a != nil {
		return "", a
	}
	if r.URL.Query().Get("api-version") == "" {
		return "", refuse(http.StatusBadRequest, "MissingApiVersionParameter",
			"The api-version query parameter (?api-version=) is required for all requests.")
	}
	pattern, values, err := dissect(r.URL.EscapedPath())
	if err != nil {
		return "", refuse(http.StatusBadRequest, "InvalidRequestUri", "The request URI is not valid: %v.", err)
	}
	to, found := routes[r.Method+" "+pattern]
	switch {
	case !found && knownPaths[pattern]:
		return "", refuse(http.StatusMethodNotAllowed, "OperationNotAllowed", "The method %s is not supported here.", r.Method)
	case !found:
		return "", refuse(http.StatusNotFound, "InvalidResourceType", "No resource type answers to the path %s.", r.URL.Path)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return to.kind, refuse(http.StatusBadRequest, "InvalidRequestContent", "The request body could not be read: %v.", err)
	}
	if len(body) > maxBody {
		return to.kind, refuse(http.StatusRequestEntityTooLarge, "RequestContentTooLarge", "The request body exceeds %d bytes.", maxBody)
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	c := &call{r: r, kind: to.kind, base: scheme + "://" + r.Host, values: values, body: body}
	op := Op{Kind: to.kind, Method: r.Method, ID: r.URL.Path}

	s.mu.Lock()
	s.counts[op.Kind]++
	before, after, fault := s.before, s.after, take(&s.faults, op.Kind)
	s.mu.Unlock()
	// Hooks run without the lock: a test may edit the estate from inside one.
	if fault == nil && before != nil {
		fault = before(op)
	}
	if fault != nil {
		return op.Kind, fault.answer()
	}
	a = s.dispatch(to, c)
	if after != nil && a.status < 400 {
		if fault := after(op); fault != nil {
			a = fault.answer()
		}
	}
	return op.Kind, a
}

// dispatch runs one handler under the lock, after bringing operations up to date
// and checking the scopes that every path begins with.
func (s *Server) dispatch(to route, c *call) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	if len(c.values) > 0 {
		sub := c.subscription()
		if _, err := uuid.Parse(sub); err != nil {
			return refuse(http.StatusBadRequest, "InvalidSubscriptionId", "The provided subscription identifier '%s' is malformed or invalid.", sub)
		}
		if s.world.subscriptions[key(sub)] == nil {
			return refuse(http.StatusNotFound, "SubscriptionNotFound", "The subscription '%s' could not be found.", sub)
		}
		if c.inGroup() && s.world.groups[key(groupID(sub, c.group()))] == nil {
			return refuse(http.StatusNotFound, "ResourceGroupNotFound", "Resource group '%s' could not be found.", c.group())
		}
	}
	return to.handle(s, c)
}

// inGroup tells whether the second name in the path is a resource group.
func (c *call) inGroup() bool {
	return len(c.values) > 1 && !strings.HasPrefix(c.kind, "operation.")
}

func (s *Server) authenticate(r *http.Request) *answer {
	refused := func(code, format string, args ...any) *answer {
		a := refuse(http.StatusUnauthorized, code, format, args...)
		a.header = map[string]string{"WWW-Authenticate": `Bearer authorization_uri="https://login.microsoftonline.com/", error="invalid_token"`}
		return a
	}
	header := r.Header.Get("Authorization")
	if header == "" {
		return refused("AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.")
	}
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return refused("AuthenticationFailedInvalidHeader", "Authentication failed. The 'Authorization' header is provided in an invalid format.")
	}
	if err := s.authorize(strings.TrimSpace(token)); err != nil {
		return refused("InvalidAuthenticationToken", "The access token is invalid: %v.", err)
	}
	return nil
}

// list answers with one page of the items whose keys are given, sorted by key.
func (s *Server) list(c *call, keys []string, render func(key string) any) *answer {
	slices.Sort(keys)
	return s.page(c, keys, func(last string) int {
		i, there := slices.BinarySearch(keys, last)
		if there {
			i++
		}
		return i
	}, render)
}

// page answers with one page of items. The token names the last key already sent,
// so that items deleted between two pages do not make the client miss others; after
// tells the index at which the next page begins.
func (s *Server) page(c *call, keys []string, after func(last string) int, render func(key string) any) *answer {
	from := 0
	if token := c.r.URL.Query().Get("$skiptoken"); token != "" {
		last, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil {
			return refuse(http.StatusBadRequest, "InvalidSkipToken", "The skip token is not valid.")
		}
		from = after(string(last))
	}
	to := min(from+s.pageSize, len(keys))
	value := make([]any, 0, to-from)
	for _, k := range keys[from:to] {
		value = append(value, render(k))
	}
	body := map[string]any{"value": value}
	if to < len(keys) {
		token := base64.RawURLEncoding.EncodeToString([]byte(keys[to-1]))
		query := url.Values{"$skiptoken": {token}}
		if filter := c.r.URL.Query().Get("$filter"); filter != "" {
			query.Set("$filter", filter)
		}
		body["nextLink"] = c.link(c.r.URL.EscapedPath(), query)
	}
	return ok(body)
}
