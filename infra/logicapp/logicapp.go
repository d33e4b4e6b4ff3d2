// Package logicapp holds the Logic Apps workflows that are shipped with jitgate. The
// files are embedded so that the tests run what customers import. It holds no code
// beside that.
package logicapp

import _ "embed"

// Approval is an ARM template: a workflow that jitgate calls, which asks in Teams
// and posts the decision back.
//
//go:embed azuredeploy.json
var Approval []byte

// Request is a workflow definition that asks for access and follows the 202.
//
//go:embed request.definition.json
var Request []byte

// RequestWebhook is a workflow definition that asks for access and is called back.
//
//go:embed request-webhook.definition.json
var RequestWebhook []byte
