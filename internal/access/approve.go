package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"jitgate/internal/armid"
	"jitgate/internal/audit"
	"jitgate/internal/policy"
)

// VoteForm is an approver's word as a caller sent it.
type VoteForm struct {
	Agrees   bool
	Comment  string
	Approver *Person // only from a workflow: whose word it is
}

// Read checks a form. A person speaks for themselves, a workflow for somebody it
// names by object id: who that is, it vouches for. All faults are returned together
// as [Refusals].
func (f VoteForm) Read(by Actor) (Vote, error) {
	v := Vote{By: by, Agrees: f.Agrees, Comment: strings.TrimSpace(f.Comment)}
	var c check
	c.words(CommentInvalid, "comment", v.Comment)
	switch {
	case !by.Application && f.Approver != nil:
		c.fault(ApproverInvalid, "approver", "Only a workflow says whose decision it is; leave approver out.")
	case by.Application && f.Approver == nil:
		c.fault(ApproverInvalid, "approver", "Say whose decision it is: {\"approver\":{\"object\":\"<object id>\"}}. An application cannot approve for itself.")
	case by.Application:
		id, err := uuid.Parse(f.Approver.Object)
		if err != nil || len(f.Approver.Object) != 36 {
			c.fault(ApproverInvalid, "approver.object", "%q is not an object id; send the GUID that Entra ID shows for the person.", clip(f.Approver.Object))
		}
		c.words(ApproverInvalid, "approver.name", f.Approver.Name)
		v.Via = by.Person
		v.By = Actor{Person: Person{Tenant: by.Tenant, Object: id.String(), Name: clip(strings.TrimSpace(f.Approver.Name))}}
	}
	if len(c.faults) > 0 {
		return Vote{}, c.faults
	}
	return v, nil
}

// Vote records an approver's word on a request that awaits approval. One who is
// against it ends it for every machine that they may decide about; enough who are for
// it have it evaluated again, under the policies of that moment. Saying the same
// twice is harmless.
//
// Errors: [ErrNotFound]; [Refusals]; [ErrUnavailable], after which the vote may be
// saved and may be sent again.
func (s *Service) Vote(ctx context.Context, id string, v Vote) (Request, error) {
	r, err := s.Store.Request(ctx, id)
	if err != nil {
		return Request{}, err
	}
	v.At = s.now()
	if err := r.votable(v); err != nil {
		return Request{}, err
	}
	counts, err := s.counted(ctx, &r, v)
	if err != nil {
		return Request{}, err
	}
	r, err = s.update(ctx, id, func(r *Request) ([]audit.Event, error) {
		if err := r.votable(v); err != nil {
			return nil, err
		}
		rec := record{at: v.At, by: v.By.Person}
		err := r.vote(v, counts, &rec)
		return rec.events, err
	})
	if err != nil {
		return Request{}, err
	}
	s.watchApproval(ctx, &r, v)
	if r.State() == AwaitingApproval {
		if err := s.Queue.Evaluate(ctx, r.ID, r.Events); err != nil {
			return r, fmt.Errorf("have request %s evaluated again: %w", r.ID, err)
		}
	}
	return r, nil
}

// lastVote is when somebody last spoke; zero when nobody has.
func (r *Request) lastVote() time.Time {
	if len(r.Votes) == 0 {
		return time.Time{}
	}
	return r.Votes[len(r.Votes)-1].At
}

// votable refuses a vote that cannot count for any machine of the request.
func (r *Request) votable(v Vote) error {
	switch {
	case r.State() != AwaitingApproval:
		return refuse(RequestNotAwaiting, "", fmt.Sprintf("The request does not wait for an approval: it is %s.", r.State()))
	case r.lapsed(v.At):
		return refuse(RequestNotAwaiting, "", "The time to decide this request is over; it has to be asked for again.")
	case v.By.Same(r.Requester), v.By.Object == r.Requester.Object:
		return refuse(OwnRequest, "", "Nobody decides their own request; somebody else has to.")
	case v.Via.Object != "" && v.Via.Object == r.Requester.Object:
		return refuse(OwnRequest, "", "The application that asked for access cannot vouch for whoever approves it.")
	}
	return nil
}

// counted tells for which targets the vote counts, under today's policies.
func (s *Service) counted(ctx context.Context, r *Request, v Vote) ([]bool, error) {
	vms := make([]armid.ID, len(r.Targets))
	for i, t := range r.Targets {
		vms[i] = t.VM
	}
	rules, err := s.rulebook(ctx, vms)
	if err != nil {
		return nil, err
	}
	if l := rules.ledger.silences(&v, rules.at); l != nil {
		return nil, Refusals{l.refusal()}
	}
	counts := make([]bool, len(r.Targets))
	for i, t := range r.Targets {
		if t.State != AwaitingApproval {
			continue
		}
		tags, err := s.tags(ctx, rules, t.VM)
		if err != nil {
			return nil, fmt.Errorf("look at %s: %w", t.VM.Name(), err)
		}
		approval := rules.rule(r.enquiry(&t, tags)).approval
		if counts[i] = approval == nil || v.accepted(approval); !counts[i] {
			continue
		}
		err = s.entitled(ctx, v.By.Person, t.VM, ApproverRole)
		var missing Refusals
		switch {
		case errors.As(err, &missing):
			counts[i] = false
		case err != nil:
			return nil, err
		}
	}
	if !slices.Contains(counts, true) {
		if v.Via.Object != "" {
			return nil, refuse(ApproverNotAllowed, "approver", "No policy lets this workflow's word count for this approver: name the approver's object id under users, or the workflow's under applications, among the approvers of the policy.")
		}
		return nil, refuse(ApproverNotAllowed, "", "You are not among those who may approve this request; its targets name who is.")
	}
	return counts, nil
}

// accepted tells whether the vote is one that an approval counts, as far as policies
// say.
func (v *Vote) accepted(a *policy.Approval) bool {
	if v.Via.Object == "" {
		return a.Accepts(v.By.subject())
	}
	return a.AcceptsVouched(v.By.Object, v.Via.Object)
}

// weighs tells whether a later vote of the same person says the same with the same
// rights. With others it may count where the earlier one does not.
func (v *Vote) weighs(later *Vote) bool {
	return v.Agrees == later.Agrees && v.Via.Same(later.Via) && slices.Equal(v.By.Roles, later.By.Roles) && slices.Equal(v.By.Groups, later.By.Groups)
}

func (r *Request) vote(v Vote, counts []bool, rec *record) error {
	last := slices.IndexFunc(r.Votes, func(o Vote) bool { return o.By.Object == v.By.Object })
	if last >= 0 && v.Agrees && r.Votes[last].weighs(&v) {
		return nil
	}
	if last >= 0 {
		r.Votes = slices.Delete(r.Votes, last, last+1)
	}
	r.Votes = append(r.Votes, v)
	via := ""
	if v.Via.Object != "" {
		via = fmt.Sprintf(" Vouched for by application %s (%s).", v.Via.Name, v.Via.Object)
	}
	comment := "Without a comment."
	if v.Comment != "" {
		comment = v.Comment
	}
	if v.Agrees {
		rec.add(audit.ApprovalGiven, nil, audit.Event{Text: comment + via})
		return nil
	}
	for i := range r.Targets {
		t := &r.Targets[i]
		if t.State != AwaitingApproval || !counts[i] {
			continue
		}
		t.EndedAt = v.At
		t.Reason = Reason{Code: RejectedByApprover, Sentence: "An approver said no: " + comment}
		rec.add(audit.RequestRejected, t, audit.Event{Text: comment + via})
		if err := t.Apply(Reject); err != nil {
			return err
		}
	}
	return nil
}

// heard are those who are for a request and may decide about this machine of it today.
// A vote is for the whole request, and was taken if it counted for one machine. An
// approver who was locked down since may have lost the account before they voted.
func (s *Service) heard(ctx context.Context, rules rulebook, r *Request, vm armid.ID) (map[string]bool, error) {
	out := map[string]bool{}
	for _, v := range r.Votes {
		if !v.Agrees || rules.ledger.silences(&v, rules.at) != nil {
			continue
		}
		err := s.entitled(ctx, v.By.Person, vm, ApproverRole)
		var missing Refusals
		if err != nil && !errors.As(err, &missing) {
			return nil, err
		}
		if err == nil {
			out[v.By.Object] = true
		}
	}
	return out, nil
}

// silences finds a lockdown in force of whoever votes, or of the workflow that vouches.
func (l *Ledger) silences(v *Vote, now time.Time) *Lockdown {
	if d := l.locked(v.By.Person, now); d != nil {
		return d
	}
	return l.locked(v.Via, now)
}

// agreed tells whether enough distinct people have agreed. What needs nobody is
// agreed. A vote that came after the decision was prepared has a look of its own.
func (r *Request) agreed(d *decision) bool {
	if d.approval == nil {
		return true
	}
	who := map[string]bool{}
	for _, v := range r.Votes {
		if v.Agrees && v.accepted(d.approval) && d.heard[v.By.Object] && v.By.Object != r.Requester.Object {
			who[strings.ToLower(v.By.Object)] = true
		}
	}
	return len(who) >= d.approval.Quorum
}

// sentence ends what people wrote where a further sentence follows.
func sentence(text string) string {
	if text = strings.TrimSpace(text); strings.HasSuffix(text, ".") || strings.HasSuffix(text, "!") || strings.HasSuffix(text, "?") {
		return text
	}
	return text + "."
}
