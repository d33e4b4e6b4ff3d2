package identity

import "errors"

// ErrUnavailable: the identity provider's documents cannot be fetched, so nothing
// can be said about the token. The caller should be told to try again (503), not
// to sign in again (401).
var ErrUnavailable = errors.New("the identity provider cannot be reached")

// Code is the stable name of why a token was refused.
type Code string

const (
	TokenMissing     Code = "token_missing"
	TokenMalformed   Code = "token_malformed"
	TokenAlgorithm   Code = "token_algorithm"
	TokenSignature   Code = "token_signature"
	TokenExpired     Code = "token_expired"
	TokenNotYetValid Code = "token_not_yet_valid"
	TokenIssuer      Code = "token_issuer"
	TokenAudience    Code = "token_audience"
	TokenTenant      Code = "token_tenant"
	TokenSubject     Code = "token_subject"
)

// sentences tell the caller what to do. They are constants so that nothing of a
// token can get into an answer or a log.
var sentences = map[Code]string{
	TokenMissing:     "The call carries no bearer token; sign in and send the token in the Authorization header as \"Bearer <token>\".",
	TokenMalformed:   "The call does not carry one readable sign-in; send \"Authorization: Bearer <token>\" with one access token as it was issued, or sign in to the portal again.",
	TokenAlgorithm:   "The token is not signed with RS256; use an access token from Microsoft Entra ID.",
	TokenSignature:   "The token's signature does not match a key of the tenant it names; use an unaltered access token that was issued for this service, not for Microsoft Graph or another one.",
	TokenExpired:     "The token has expired; sign in again and repeat the call.",
	TokenNotYetValid: "The token is not valid yet; check the clock of the machine that sends it and repeat the call in a moment.",
	TokenIssuer:      "The token was not issued by a tenant this service trusts; sign in to the right one and send an access token of Microsoft Entra ID.",
	TokenAudience:    "The token is meant for another service; ask for a token for this service's application id.",
	TokenTenant:      "The token comes from another tenant; sign in to a tenant this service is for.",
	TokenSubject:     "The token does not say who calls through which application; use an access token, not an ID token, of a user or service principal that has an object id.",
}

// Error says why a token or sign-in was refused. The sentence is meant for the
// caller, the cause for the log; neither holds anything of the token.
type Error struct {
	Code     Code
	Sentence string
	cause    error
}

func (e *Error) Error() string {
	if e.cause == nil {
		return string(e.Code)
	}
	return string(e.Code) + ": " + e.cause.Error()
}

func (e *Error) Unwrap() error { return e.cause }

func refuse(code Code, cause error) *Error {
	return &Error{Code: code, Sentence: sentences[code], cause: cause}
}
