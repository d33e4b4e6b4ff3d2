package api

import "time"

// NewLockdown is the body of POST /api/lockdowns.
type NewLockdown struct {
	User   string `json:"user,omitempty" doc:"Object id of a person or application. One of user and scope is sent."`
	Scope  string `json:"scope,omitempty" doc:"\"tenant\" (everything), or the id of a subscription, a resource group or a VM."`
	Until  string `json:"until,omitempty" doc:"When it ends, RFC 3339. Left out: when somebody lifts it."`
	Reason string `json:"reason,omitempty"`
}

// Lockdown keeps everything under it closed.
type Lockdown struct {
	ID     string     `json:"id"`
	User   string     `json:"user,omitempty"`
	Scope  string     `json:"scope,omitempty"`
	Until  *time.Time `json:"until,omitempty"`
	Alert  string     `json:"alert,omitempty" doc:"The alert whose end lifts it."`
	By     Person     `json:"by"`
	Reason string     `json:"reason"`
	At     time.Time  `json:"at"`
}

// LockedDown is the answer of POST /api/lockdowns.
type LockedDown struct {
	Lockdown Lockdown `json:"lockdown"`
	Ended    int      `json:"ended" doc:"How many requests it ends. Their rules go within seconds."`
}

// LockdownList holds the lockdowns in force.
type LockdownList struct {
	Lockdowns []Lockdown `json:"lockdowns"`
}

// LiftLockdown is the body of POST /api/lockdowns/{id}/lift.
type LiftLockdown struct {
	Comment string `json:"comment,omitempty"`
}

// NewSubscription is the body of POST /api/subscriptions: Logic Apps' HttpWebhook
// action subscribes with it.
type NewSubscription struct {
	CallbackURL string   `json:"callbackUrl,omitempty" doc:"@listCallbackUrl(). It is a secret and treated as one."`
	RequestID   string   `json:"requestId,omitempty"`
	Events      []string `json:"events,omitempty" doc:"Outcomes to wait for: granted, denied, expired. The first that comes true is told, or else the one that the request ends with. Left out: all."`
}

// Subscription is the answer of POST /api/subscriptions.
type Subscription struct {
	SubscriptionID string `json:"subscriptionId"`
}

// CancelSubscription is the body of POST /api/subscriptions/cancel.
type CancelSubscription struct {
	CallbackURL string `json:"callbackUrl,omitempty"`
	RequestID   string `json:"requestId,omitempty"`
}

// AlertReception is the answer of POST /api/alerts.
type AlertReception struct {
	Status string `json:"status" enum:"accepted,duplicate,ignored"`
	Why    string `json:"why,omitempty" doc:"Why it is ignored."`
	Rule   string `json:"rule,omitempty" doc:"The alert rule that decided."`
}

// Callback is the body of a call to a workflow that waits.
type Callback struct {
	Outcome string  `json:"outcome" enum:"granted,denied,expired"`
	Request Request `json:"request"`
}

// Notice is what workflows that we call are sent, and the data of signed webhooks.
type Notice struct {
	Event   string    `json:"event" example:"request.awaiting-approval"`
	At      time.Time `json:"at"`
	Title   string    `json:"title"`
	Text    string    `json:"text"`
	VM      string    `json:"vm,omitempty" doc:"Left out when several machines came to the same at once."`
	Actor   string    `json:"actor" doc:"Object id, or jitgate."`
	Name    string    `json:"name,omitempty"`
	Request *Request  `json:"request,omitempty"`
	Link    string    `json:"link" doc:"Where people look at it; empty when nowhere is configured."`
}
