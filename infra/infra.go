// Package infra holds descriptions of the Azure resources jitgate runs on. The
// files are embedded so that the local stack, the tests and a deployment read the
// same ones. It holds no code beside that.
package infra

import _ "embed"

// ServiceBus is the queues in the configuration format of the official Service Bus
// emulator, which the local stand-in reads as well.
//
//go:embed servicebus.json
var ServiceBus []byte
