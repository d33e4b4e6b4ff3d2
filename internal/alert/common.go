package alert

import (
	"strings"

	"github.com/google/uuid"

	"jitgate/internal/armid"
)

// common is the common alert schema, as much of it as is read. Its names are
// matched without regard to case, since the documentation itself writes both
// alertRuleID and alertRuleId.
type common struct {
	Data struct {
		Essentials       essentials
		AlertContext     alertContext
		CustomProperties properties
	}
}

type essentials struct {
	AlertID, AlertRule, AlertRuleID     text
	Severity, SignalType                text
	MonitorCondition, MonitoringService text
	AlertTargetIDs, ConfigurationItems  texts
	FiredDateTime, ResolvedDateTime     text
}

// alertContext differs by monitoringService; these are the parts that can name a
// machine, and the author's own properties.
type alertContext struct {
	ConditionType text // of metric alerts and log alerts of today
	Properties    properties
	Condition     struct {
		AllOf []struct {
			Dimensions []dimension
			Event      [][]dimension // rows of a simple log alert
		}
	}
	Dimensions                 []dimension // of log alerts of the first version
	AffectedConfigurationItems texts
	Authorization              struct{ Scope text } // of the activity log
}

type dimension struct{ Name, Value text }

func parseCommon(body []byte) (Alert, error) {
	var c common
	if err := decode(body, &c); err != nil {
		return Alert{}, refuse(Malformed, "The body is no JSON: %s.", err)
	}
	e, context := c.Data.Essentials, c.Data.AlertContext
	a := Alert{
		ID:       strings.ToLower(string(e.AlertID)),
		RuleID:   line(string(e.AlertRuleID)),
		Rule:     line(string(e.AlertRule)),
		Severity: severity(e.Severity),
		Service:  line(string(e.MonitoringService)),
		Signal:   line(string(e.SignalType)),
		Custom:   c.Data.CustomProperties,
		Fired:    moment(e.FiredDateTime),
		Resolved: moment(e.ResolvedDateTime),
	}
	// Without the leading slash an id could pass for that of our own body.
	if !strings.HasPrefix(a.ID, "/") || !printable(a.ID, 1024) {
		return Alert{}, refuse(Malformed, "data.essentials.alertId %.60q is no id; it must start with / and have at most 1024 printable characters.", e.AlertID)
	}
	switch condition := string(e.MonitorCondition); {
	case strings.EqualFold(condition, string(Fired)):
		a.Condition = Fired
	case strings.EqualFold(condition, string(Resolved)):
		a.Condition = Resolved
	default:
		return Alert{}, refuse(Malformed, "data.essentials.monitorCondition %.60q is not known; it must be Fired or Resolved.", condition)
	}
	if strings.EqualFold(a.Signal, "ActivityLog") {
		a.Signal = "Activity Log" // some services leave the space out
	}
	// Where conditionType is missing, the properties are those of an event, not
	// of the alert rule.
	if len(a.Custom) == 0 && context.ConditionType != "" {
		a.Custom = context.Properties
	}
	a.Key, a.End = key(a.ID, string(a.Condition)), key(a.ID, string(Resolved))
	a.Subscription = subscriptionOf(a.ID)
	a.Machines, a.Names = context.machines(e)
	a.Test = fromPortal(a, e.AlertTargetIDs)
	return a, nil
}

// subscriptionOf an ARM id in lower case, of any kind of resource.
func subscriptionOf(id string) string {
	parts := strings.Split(id, "/")
	if len(parts) < 3 || parts[1] != "subscriptions" || uuid.Validate(parts[2]) != nil {
		return ""
	}
	return parts[2]
}

// fromPortal recognises the made-up alerts of "Test action group": an alert id
// that is no instance ("Test_Alert"), a subscription of one repeated digit, or a
// rule and targets that are all called test-something in the group test-RG
// (Azure Monitor documentation, sample payloads for test actions). No single name is
// enough for that, so that a real group called test-RG keeps its alerts.
func fromPortal(a Alert, targets texts) bool {
	if strings.HasSuffix(a.ID, "/test_alert") {
		return true
	}
	digits := strings.ReplaceAll(a.Subscription, "-", "")
	if digits != "" && strings.Trim(digits, digits[:1]) == "" {
		return true
	}
	if !hasPrefixFold(a.Rule, "test-") || len(targets) == 0 {
		return false
	}
	for _, target := range targets {
		id, err := armid.Parse(string(target))
		if err != nil || !strings.EqualFold(id.ResourceGroup(), "test-RG") || !hasPrefixFold(id.Name(), "test-") {
			return false
		}
	}
	for _, machine := range a.Machines {
		if !strings.EqualFold(machine.ResourceGroup(), "test-RG") {
			return false
		}
	}
	return true
}

func hasPrefixFold(s, prefix string) bool {
	return strings.HasPrefix(strings.ToLower(s), strings.ToLower(prefix))
}
