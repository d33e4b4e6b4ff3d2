package cli

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes. They are an interface: scripts branch on them.
const (
	exitDone        = 0
	exitUnexpected  = 1
	exitCheck       = 2
	exitNotAllowed  = 3
	exitNotFound    = 4
	exitConflict    = 5
	exitUnavailable = 6
	exitNoAccess    = 7
	exitUsage       = 64 // EX_USAGE of BSD's sysexits
)

// exitCodes is what "jitgate help exit-codes" says.
var exitCodes = []struct {
	code  int
	means string
}{
	{exitDone, "done"},
	{exitUnexpected, "failed unexpectedly, or was interrupted"},
	{exitCheck, "a check failed: report found a management port open or not proven closed, policy test a case with another answer, policy lint --strict a finding"},
	{exitNotAllowed, "not signed in, not allowed, or ruled out by policy at once (HTTP 401, 403)"},
	{exitNotFound, "not found (HTTP 404)"},
	{exitConflict, "in conflict with what is there, for example ended already (HTTP 409); or waited, and the protection is Blocked"},
	{exitUnavailable, "not available: cannot connect, timed out, or asked to come back later (HTTP 429, 502, 503, 504)"},
	{exitNoAccess, "waited, and something asked for ended without access (Denied, Failed, Rejected, Lapsed, Cancelled, Expired or Revoked)"},
	{exitUsage, "bad usage, or refused as malformed (HTTP 400, 422 and other faults of the call)"},
}

// exitOf is the exit code for an HTTP status that is not a success.
func exitOf(status int) int {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return exitNotAllowed
	case http.StatusNotFound:
		return exitNotFound
	case http.StatusConflict:
		return exitConflict
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return exitUnavailable
	}
	if status >= 400 && status < 500 {
		return exitUsage
	}
	return exitUnexpected
}

// exitCodesTopic is a help topic: a command that cannot be run.
func exitCodesTopic() *cobra.Command {
	var text strings.Builder
	text.WriteString("jitgate ends with one of these codes:\n\n")
	for _, e := range exitCodes {
		_, _ = fmt.Fprintf(&text, "  %-2d  %s\n", e.code, e.means)
	}
	text.WriteString("\nWhy it ended so is said on stderr. Whatever is known about requests and machines\nis on stdout whatever the code.\n")
	return &cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: text.String()}
}
