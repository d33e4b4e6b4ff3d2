package arm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/google/uuid"
	"github.com/jonboulle/clockwork"
	"golang.org/x/sync/singleflight"

	"jitgate/internal/access"
	"jitgate/internal/armid"
)

// Rights tells by Azure's role assignments what a person may do on a machine. It
// gives only what Azure lists as a plain assignment to that person or to a group
// around them, at the machine or above it. These are left out, all to the caller's
// disadvantage but the first:
//   - deny assignments are not looked at. Those who are denied what their role
//     allows in Azure keep the app roles that the role gives here;
//   - an assignment with a condition gives nothing, because none is understood;
//   - what Azure Lighthouse delegates is not in the list (role-assignments-list-rest),
//     so it gives nothing.
//
// Answers are up to a minute old: a role that was taken away counts that much
// longer. It is safe for concurrent use.
type Rights struct {
	client *arm.Client
	grants map[string][]string
	log    *slog.Logger
	clock  clockwork.Clock
	known  *recent
	asking singleflight.Group // by the key of known
}

const (
	keepRights = time.Minute
	mostRights = 10_000 // answers kept; each takes a few hundred bytes
	// askRights is how long a question may take, retries included. It is shared by
	// all who ask the same, so it does not end with one of them.
	askRights = 30 * time.Second
)

// NewRights takes a table like that of [ParseRights]: which app roles a role
// definition gives. It touches neither the network nor the credential.
func NewRights(c Config, grants map[string][]string) (*Rights, error) {
	checked, faults := map[string][]string{}, []error{}
	for _, definition := range slices.Sorted(maps.Keys(grants)) {
		faults = append(faults, grant(checked, definition, grants[definition]))
	}
	if len(grants) == 0 {
		faults = append(faults, errNoRights)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("arm: rights: %w", err)
	}
	n, err := New(c)
	if err != nil {
		return nil, err
	}
	client, err := arm.NewClient("jitgate/internal/azure/arm", "v1.0.0", n.credential, n.options)
	if err != nil {
		return nil, fmt.Errorf("arm: make the client for role assignments: %w", err)
	}
	return &Rights{client: client, grants: checked, log: n.log, clock: n.clock, known: newRecent(n.clock, keepRights, mostRights)}, nil
}

// Roles lists the app roles that somebody has on a machine, sorted, none twice. A
// machine that does not exist gives none, and neither does an object id that is no
// GUID. Errors: [access.ErrUnavailable], [access.ErrForbidden]; who gets one knows
// nothing and must not let anybody in.
func (r *Rights) Roles(ctx context.Context, who access.Person, vm armid.ID) ([]string, error) {
	// The id goes into a filter, where a quote would end the string it stands in.
	if !isGUID(who.Object) || !strings.EqualFold(vm.Type(), armid.VirtualMachine) {
		return nil, nil
	}
	object := strings.ToLower(who.Object)
	key := object + " " + vm.Key()
	if roles, ok := r.known.get(key); ok {
		return roles, nil
	}
	answer := r.asking.DoChan(key, func() (any, error) {
		if roles, ok := r.known.get(key); ok { // somebody else's call ended between the look and this one
			return roles, nil
		}
		asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), askRights)
		defer cancel()
		asked := r.clock.Now() // what changes while Azure answers may be missing from the answer
		roles, err := r.read(asking, object, vm)
		if err == nil {
			r.known.put(key, roles, asked)
		}
		return roles, err
	})
	select {
	case got := <-answer:
		if got.Err != nil {
			return nil, got.Err
		}
		return slices.Clone(got.Val.([]string)), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("read %s: %w: %w", assignmentsOf(object, vm), access.ErrUnavailable, ctx.Err())
	}
}

func assignmentsOf(object string, vm armid.ID) string {
	return "the role assignments of " + object + " on " + vm.String()
}

func (r *Rights) read(ctx context.Context, object string, vm armid.ID) ([]string, error) {
	var roles []string
	for a, err := range items(ctx, assignmentsOf(object, vm), r.pager(object, vm), func(p assignmentPage) []*assignment { return p.Value }) {
		switch {
		case errors.Is(err, access.ErrNotFound): // no machine, no rights
			return nil, nil
		case err != nil:
			return nil, err
		}
		for _, role := range r.given(ctx, a, vm) {
			roles = appendNew(roles, role)
		}
	}
	slices.Sort(roles)
	return roles, nil
}

// given are the app roles that an assignment gives on a machine.
func (r *Rights) given(ctx context.Context, a *assignment, vm armid.ID) []string {
	roles := r.grants[definitionOf(a.Properties.Role)]
	switch {
	case roles == nil:
		return nil
	case !covers(a.Properties.Scope, vm):
		r.log.WarnContext(ctx, "a role assignment from elsewhere gives nothing", "vm", vm, "assignment", a.ID, "scope", a.Properties.Scope)
		return nil
	case a.Properties.Condition != "":
		r.log.InfoContext(ctx, "a role assignment with a condition gives nothing", "vm", vm, "assignment", a.ID)
		return nil
	}
	return roles
}

// definitionOf is the lower-cased GUID at the end of a role definition's id, which
// begins with the assignment's subscription or with nothing. Empty for another id.
func definitionOf(id string) string {
	at := strings.LastIndex(id, "/")
	if at < 0 || !strings.HasSuffix(strings.ToLower(id[:at]), "/providers/microsoft.authorization/roledefinitions") {
		return ""
	}
	return strings.ToLower(id[at+1:])
}

// covers reports whether an assignment at this scope reaches the machine. Azure is
// asked for no others; this is for the day it, or something on the way, answers
// another question. Which subscriptions a management group holds is not known here,
// so there its word is taken.
func covers(scope string, vm armid.ID) bool {
	const groups = "/providers/microsoft.management/managementgroups/"
	if scope == "/" {
		return true
	}
	if name, in := strings.CutPrefix(strings.ToLower(scope), groups); in {
		return name != "" && !strings.Contains(name, "/")
	}
	id, err := armid.Parse(scope)
	return err == nil && vm.Within(id)
}

type assignmentPage struct {
	Value    []*assignment `json:"value"`
	NextLink string        `json:"nextLink"`
}

type assignment struct {
	ID         string `json:"id"`
	Properties struct {
		Scope     string `json:"scope"`
		Role      string `json:"roleDefinitionId"`
		Condition string `json:"condition"`
	} `json:"properties"`
}

// pager asks for what is assigned at the machine or above it, not below
// (atScope; Role Assignments - List For Scope), to a user or service principal
// directly or through groups, nested ones too (assignedTo; "List Azure role
// assignments using the REST API"). The version must not be older: conditions
// come only since 2022-04-01 (same page), and without them a conditional
// assignment would look like a plain one.
func (r *Rights) pager(object string, vm armid.ID) *runtime.Pager[assignmentPage] {
	query := url.Values{"api-version": {"2022-04-01"}, "$filter": {"atScope() and assignedTo('" + object + "')"}}
	// Like the SDK's own clients: a plus stands for a space in forms only.
	first := runtime.JoinPaths(r.client.Endpoint(), vm.String(), "/providers/Microsoft.Authorization/roleAssignments") +
		"?" + strings.ReplaceAll(query.Encode(), "+", "%20")
	return runtime.NewPager(runtime.PagingHandler[assignmentPage]{
		More: func(p assignmentPage) bool { return p.NextLink != "" },
		Fetcher: func(ctx context.Context, last *assignmentPage) (assignmentPage, error) {
			address := first
			if last != nil {
				if address = last.NextLink; !sameOrigin(address, first) {
					return assignmentPage{}, fmt.Errorf("the next page is said to be at %q, which is not ARM; our token does not go there", address)
				}
			}
			request, err := runtime.NewRequest(ctx, http.MethodGet, address)
			if err != nil {
				return assignmentPage{}, err
			}
			request.Raw().Header.Set("Accept", "application/json")
			answer, err := r.client.Pipeline().Do(request)
			if err != nil {
				return assignmentPage{}, err
			}
			if !runtime.HasStatusCode(answer, http.StatusOK) {
				return assignmentPage{}, runtime.NewResponseError(answer)
			}
			var page assignmentPage
			return page, runtime.UnmarshalAsJSON(answer, &page)
		},
	})
}

func sameOrigin(address, other string) bool {
	a, err := url.Parse(address)
	b, otherErr := url.Parse(other)
	return err == nil && otherErr == nil && strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Host, b.Host) && a.User == nil
}

// isGUID takes only the form with hyphens, which is how Entra and Azure write ids.
func isGUID(text string) bool { return len(text) == 36 && uuid.Validate(text) == nil }
