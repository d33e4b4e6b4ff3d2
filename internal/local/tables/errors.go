package tables

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// serviceError is a refusal with the service's status, error code and text.
type serviceError struct {
	status     int
	code       string
	message    string
	retryAfter time.Duration
	drop       bool
}

func (e *serviceError) Error() string { return fmt.Sprintf("%d %s: %s", e.status, e.code, e.message) }

func refuse(status int, code, message string) *serviceError {
	return &serviceError{status: status, code: code, message: message}
}

// The refusals of the Table service. Codes and statuses are those of "Table Storage error codes" and "Common REST API
// error codes"; where those pages list a code without a text, the text is what the service has been seen to answer.
var (
	errAuthenticationFailed = refuse(403, "AuthenticationFailed", "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including the signature.")
	errNoAuthentication     = refuse(401, "NoAuthenticationInformation", "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.")
	errInvalidBearer        = refuse(401, "InvalidAuthenticationInfo", "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.")

	errTableNotFound       = refuse(404, "TableNotFound", "The table specified does not exist.")
	errTableAlreadyExists  = refuse(409, "TableAlreadyExists", "The table specified already exists.")
	errEntityAlreadyExists = refuse(409, "EntityAlreadyExists", "The specified entity already exists.")
	errResourceNotFound    = refuse(404, "ResourceNotFound", "The specified resource does not exist.")
	errConditionNotMet     = refuse(412, "UpdateConditionNotSatisfied", "The update condition specified in the request was not satisfied.")

	errRequestBodyTooLarge   = refuse(413, "RequestBodyTooLarge", "The request body is too large and exceeds the maximum permissible limit.")
	errEntityTooLarge        = refuse(400, "EntityTooLarge", "The entity is larger than the maximum allowed size (1MB).")
	errTooManyProperties     = refuse(400, "TooManyProperties", "The entity contains more properties than allowed. Each entity can include up to 252 properties to store data. Each entity also has 3 system properties.")
	errPropertyValueTooLarge = refuse(400, "PropertyValueTooLarge", "The property value exceeds the maximum allowed size (64KB). If the property value is a string, it is UTF-16 encoded and the maximum number of characters should be 32K or less.")
	errKeyValueTooLarge      = refuse(400, "KeyValueTooLarge", "The value of a key property exceeds the maximum allowed size (1KB).")
	errPropertyNameInvalid   = refuse(400, "PropertyNameInvalid", "The property name is invalid.")
	errPropertyNameTooLong   = refuse(400, "PropertyNameTooLong", "The property name exceeds the maximum allowed length (255).")
	errPropertiesNeedValue   = refuse(400, "PropertiesNeedValue", "The values are not specified for all properties in the entity.")
	errDuplicateProperty     = refuse(400, "DuplicatePropertiesSpecified", "A property is specified more than one time.")

	errInvalidResourceName = refuse(400, "InvalidResourceName", "The specified resource name contains invalid characters.")
	errNameLength          = refuse(400, "OutOfRangeInput", "The specified resource name length is not within the permissible limits.")
	errDateOutOfRange      = refuse(400, "OutOfRangeInput", "One of the request inputs is out of range.")
	errQuerySyntax         = refuse(400, "InvalidInput", "Bad Request - Error in query syntax.")
	errInvalidBody         = refuse(400, "InvalidInput", "An error occurred while processing this request.")

	errMethodNotAllowed = refuse(405, "MethodNotAllowed", "The requested method is not allowed on the specified resource.")
	errNotImplemented   = refuse(501, "NotImplemented", "The requested operation is not implemented on the specified resource.")
	errMediaType        = refuse(415, "MediaTypeNotSupported", "The requested media type is not supported.")
	errAtomFormat       = refuse(415, "AtomFormatNotSupported", "Atom format is not supported.")
	errVerboseFormat    = refuse(415, "JsonVerboseFormatNotSupported", "JSON verbose format is not supported.")

	errBatchTooLong      = refuse(400, "InvalidInput", "The batch request operation exceeds the maximum 100 changes per change set.")
	errBatchPartitions   = refuse(400, "CommandsInBatchActOnDifferentPartitions", "All commands in a batch must operate on same entity group.")
	errBatchDuplicateRow = refuse(400, "InvalidDuplicateRow", "The batch request contains multiple changes with same row key. An entity can appear only once in a batch request.")
)

func invalidInput(format string, args ...any) *serviceError {
	return refuse(400, "InvalidInput", fmt.Sprintf(format, args...))
}

func missingHeader(name string) *serviceError {
	return refuse(400, "MissingRequiredHeader", "An HTTP header that's mandatory for this request is not specified: "+name+".")
}

// atIndex prefixes the text with the position of the failing change, which is how the service names it in a failed
// transaction. Clients parse this number.
func (e *serviceError) atIndex(i int) *serviceError {
	indexed := *e
	indexed.message = strconv.Itoa(i) + ":" + e.message
	return &indexed
}

func (f *Fault) asError() *serviceError {
	e := refuse(f.Status, f.Code, f.Message)
	e.retryAfter, e.drop = f.RetryAfter, f.Drop
	if e.status == 0 {
		e.status = http.StatusInternalServerError
	}
	if e.code == "" {
		e.code = "InternalError"
	}
	if e.message == "" {
		e.message = "The server encountered an internal error. Please retry the request."
	}
	return e
}

// asServiceError makes sure that whatever went wrong reaches the client in the service's shape.
func asServiceError(err error) *serviceError {
	if e, ok := errors.AsType[*serviceError](err); ok {
		return e
	}
	return refuse(500, "InternalError", err.Error())
}

// body is the odata.error document. The service appends its request id and time to the text, so tests that compare
// whole texts fail here as they would there.
func (e *serviceError) body(requestID string, at time.Time) []byte {
	b := []byte(`{"odata.error":{"code":`)
	b = appendJSON(b, e.code)
	b = append(b, `,"message":{"lang":"en-US","value":`...)
	b = appendJSON(b, e.message+"\nRequestId:"+requestID+"\nTime:"+formatTicks(ticksOf(at)))
	return append(b, "}}}"...)
}

func (e *serviceError) setHeaders(h http.Header) {
	h.Set("x-ms-error-code", e.code)
	switch {
	case e.retryAfter <= 0:
	case e.retryAfter%time.Second == 0:
		h.Set("Retry-After", strconv.Itoa(int(e.retryAfter/time.Second)))
	default:
		h.Set("x-ms-retry-after-ms", strconv.FormatInt(e.retryAfter.Milliseconds(), 10))
	}
	if e.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", resource_id="https://storage.azure.com"`)
	}
}
