package tables

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"jitgate/internal/access"
)

// errClash: a row is not what it was when it was read. It never leaves the
// package: contend reads again or gives up with ErrUnavailable.
var errClash = errors.New("changed by somebody else meanwhile")

// meanings translates the service's codes. A code that is missing here is judged
// by its status, and else is an error that trying again does not mend.
//
// TableNotFound must never read as "there is no such request" or "no policy": a
// misspelt prefix would look like an empty installation.
var meanings = map[aztables.TableErrorCode]error{
	aztables.ResourceNotFound:            access.ErrNotFound,
	aztables.EntityNotFound:              access.ErrNotFound,
	aztables.EntityAlreadyExists:         access.ErrExists,
	aztables.TableAlreadyExists:          access.ErrExists,
	aztables.UpdateConditionNotSatisfied: errClash,
	aztables.TableNotFound:               access.ErrUnavailable,
	aztables.TableBeingDeleted:           access.ErrUnavailable,
	"ServerBusy":                         access.ErrUnavailable,
	"InternalError":                      access.ErrUnavailable,
	"OperationTimedOut":                  access.ErrUnavailable,
}

var statuses = map[int]error{
	http.StatusPreconditionFailed:  errClash,
	http.StatusUnauthorized:        access.ErrForbidden,
	http.StatusForbidden:           access.ErrForbidden,
	http.StatusRequestTimeout:      access.ErrUnavailable,
	http.StatusTooManyRequests:     access.ErrUnavailable,
	http.StatusInternalServerError: access.ErrUnavailable,
	http.StatusBadGateway:          access.ErrUnavailable,
	http.StatusServiceUnavailable:  access.ErrUnavailable,
	http.StatusGatewayTimeout:      access.ErrUnavailable,
}

// hints tell what to do about codes that an operator meets.
var hints = map[aztables.TableErrorCode]string{
	aztables.TableNotFound:            "; the tables must be created first, and the prefix be the same everywhere",
	"AuthorizationPermissionMismatch": "; assign the role Storage Table Data Contributor to the identity",
	"AuthorizationFailure":            "; check the storage account's network rules and that keys are allowed",
}

// explain turns an error of the SDK into one of access's sentinels with a short
// text; the SDK's own runs over many lines and repeats the response. The cause
// stays reachable for errors.As.
func explain(table, doing string, err error) error {
	var response *azcore.ResponseError
	if !errors.As(err, &response) {
		// No answer: the connection broke, the time was over or no token was to be had.
		// Only the first two leave a write in doubt, but the remedy is the same.
		return fmt.Errorf("%w: %s table %s: %w", access.ErrUnavailable, doing, table, err)
	}
	status, code := response.StatusCode, response.ErrorCode
	if status == http.StatusAccepted {
		status, code = innerFailure(response.RawResponse)
	}
	kind, known := meanings[aztables.TableErrorCode(code)]
	if !known {
		kind = statuses[status]
	}
	return &failure{
		text: fmt.Sprintf("%s table %s: status %d %s%s", doing, table, status, code, hints[aztables.TableErrorCode(code)]),
		kind: kind, cause: err,
	}
}

type failure struct {
	text  string
	kind  error // nil = none of the sentinels
	cause error
}

func (f *failure) Error() string {
	if f.kind == nil {
		return f.text
	}
	return f.kind.Error() + ": " + f.text
}

func (f *failure) Unwrap() []error {
	if f.kind == nil {
		return []error{f.cause}
	}
	return []error{f.kind, f.cause}
}

// innerFailure finds the status and code of the change that made a transaction
// fail. The transaction itself is always answered 202, and aztables v1.4.1 makes
// its error from that outer answer, without a code.
func innerFailure(resp *http.Response) (status int, code string) {
	data, err := runtime.Payload(resp)
	if err != nil {
		return 0, ""
	}
	if bytes.HasPrefix(data, []byte("{")) { // refused as a whole
		return http.StatusAccepted, odataCode(data)
	}
	batch := parts(data)
	if len(batch) == 0 {
		return 0, ""
	}
	for _, part := range parts(batch[0]) {
		inner, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(part)), nil)
		if err != nil {
			return 0, ""
		}
		data, err := io.ReadAll(inner.Body)
		inner.Body.Close()
		if inner.StatusCode >= 400 && err == nil {
			return inner.StatusCode, odataCode(data)
		}
	}
	return 0, ""
}

// parts unpacks one level of a multipart answer, whose boundary stands on its
// first line.
func parts(data []byte) [][]byte {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	boundary, ok := strings.CutPrefix(strings.TrimSpace(string(line)), "--")
	if !ok {
		return nil
	}
	var out [][]byte
	for reader := multipart.NewReader(bytes.NewReader(data), boundary); ; {
		part, err := reader.NextRawPart()
		if err != nil {
			return out
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return out
		}
		out = append(out, content)
	}
}

func odataCode(data []byte) string {
	var body struct {
		Error struct {
			Code string `json:"code"`
		} `json:"odata.error"`
	}
	if json.NewDecoder(bytes.NewReader(data)).Decode(&body) != nil {
		return ""
	}
	return body.Error.Code
}

// unreadable does not wrap its cause: the faults of a document that is stored must not
// be taken for those of the one that a caller sent.
func unreadable(what string, err error) error {
	return fmt.Errorf("%s as stored cannot be read: %v", what, err)
}
