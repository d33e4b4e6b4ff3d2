package access

import (
	"context"
	"fmt"
	"jitgate/internal/audit"
	"strings"
	"time"
)

// Review is what is due after somebody broke the glass: somebody else looks at what
// was done and says so. Its time starts when the access is to end, since nobody can say
// what was done while it goes on.
type Review struct {
	DueAt    time.Time
	Overdue  bool // it is on record that it was not closed in time
	By       Person
	Comment  string
	ClosedAt time.Time // zero while it is open
}

// Open reports whether the review is still to be closed.
func (v *Review) Open() bool { return v != nil && v.ClosedAt.IsZero() }

// startReview notes that somebody broke the glass, and when that has to be looked at.
func (r *Request) startReview(decisions []decision, approved []int, at time.Time, rec *record) {
	var within time.Duration
	for _, i := range approved {
		if w := decisions[i].review; w > 0 && (within == 0 || w < within) {
			within = w
		}
	}
	if within == 0 || r.Review != nil {
		return
	}
	r.Review = &Review{DueAt: r.ExpiresAt().Add(within)}
	rec.add(audit.GlassBroken, nil, audit.Event{Text: fmt.Sprintf("%s broke the glass: %s To be reviewed by somebody else until %s.",
		r.Requester.Name, sentence(r.Justification), r.Review.DueAt.Format(time.RFC3339))})
}

// CloseReview closes the review that is due after somebody broke the glass, once the
// access has ended. Whoever broke it cannot.
//
// Errors: [ErrNotFound]; [Refusals]; [ErrUnavailable].
func (s *Service) CloseReview(ctx context.Context, id string, by Actor, comment string) (Request, error) {
	var c check
	if comment = strings.TrimSpace(comment); comment == "" {
		c.fault(CommentMissing, "comment", "A review needs a comment: what was done, and whether it was right.")
	}
	c.words(CommentInvalid, "comment", comment)
	if len(c.faults) > 0 {
		return Request{}, c.faults
	}
	if err := s.unlocked(ctx, by.Person); err != nil {
		return Request{}, err
	}
	at := s.now()
	return s.update(ctx, id, func(r *Request) ([]audit.Event, error) {
		switch {
		case r.Review == nil:
			return nil, refuse(ReviewNotDue, "", "Nobody broke the glass for this request; there is nothing to review.")
		case !r.Review.Open():
			return nil, refuse(ReviewNotDue, "", fmt.Sprintf("The review was closed by %s at %s.", r.Review.By.Name, r.Review.ClosedAt.Format(time.RFC3339)))
		case by.Object == r.Requester.Object:
			return nil, refuse(OwnRequest, "", "Whoever broke the glass cannot close the review; somebody else has to.")
		case !r.State().Ended():
			return nil, refuse(ReviewNotDue, "", fmt.Sprintf("A review is of what was done, and this access has not ended: it is %s. Close the review afterwards, or revoke the request first.", r.State()))
		}
		r.Review.By, r.Review.Comment, r.Review.ClosedAt = by.Person, comment, at
		rec := record{at: at, by: by.Person}
		rec.add(audit.ReviewClosed, nil, audit.Event{Text: comment})
		return rec.events, nil
	})
}
