package servicebus

import (
	"jitgate/internal/local/servicebus/amqp"
)

// request is a message to $cbs or to a $management node.
type request struct {
	operation  string
	properties amqp.Map // application properties
	message    *amqp.Message
}

// response answers a request; a nil body is sent as a placeholder.
type response struct {
	status      int32
	description string
	condition   string
	body        amqp.Map
}

func succeeded(body amqp.Map) response {
	return response{status: 200, description: "OK", body: body}
}

func failed(f *failure) response {
	return response{status: f.status, description: f.description, condition: f.condition}
}

// requests makes a handler of messages out of a handler of requests. The reply
// goes to the receiving link on the same address in the same session: clients
// disagree about what the reply-to address is.
func (l *link) requests(handle func(*request) response) func([]byte, uint32) amqp.Performative {
	return func(raw []byte, _ uint32) amqp.Performative {
		m, err := amqp.DecodeMessage(raw)
		if err != nil {
			return rejected(failureOf(err))
		}
		properties, err := m.ApplicationProperties()
		if err != nil {
			return rejected(failureOf(err))
		}
		operation, _ := properties.Get("operation").(string)
		resp := handle(&request{operation, properties, m})
		for _, other := range l.s.links {
			if other.out != nil && !other.detached && other.node.address == l.node.address {
				other.out.replies = append(other.out.replies, resp.encode(l.node.cbs, m.Property(amqp.PropMessageID)))
				other.out.sendReplies()
				break
			}
		}
		return &amqp.Accepted{}
	}
}

// encode writes the reply. $cbs and $management spell the keys differently.
func (r *response) encode(cbs bool, correlationID any) []byte {
	status, description := "statusCode", "statusDescription"
	if cbs {
		status, description = "status-code", "status-description"
	}
	properties := amqp.Map{{Key: status, Value: r.status}, {Key: description, Value: r.description}}
	if r.condition != "" {
		properties = append(properties, amqp.Pair{Key: "errorCondition", Value: amqp.Symbol(r.condition)})
	}
	body := r.body
	if len(body) == 0 {
		// azservicebus cannot read an empty map: it has no key to tell its type.
		body = amqp.Map{{Key: "_", Value: nil}}
	}
	m := &amqp.Message{Properties: amqp.WithField(nil, amqp.PropCorrelationID, correlationID)}
	m.SetApplicationProperties(properties)
	m.SetValue(body)
	return m.Append(nil)
}
