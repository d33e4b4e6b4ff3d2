package tables

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

// maxSkew is how far the request date may be from the server's, after which the service refuses the signature.
const maxSkew = 15 * time.Minute

// authenticate checks the Authorization header. aztables v1.4.1 signs with SharedKeyLite
// (shared_policy_shared_key_credential.go); SharedKey, the service's other scheme, is checked as well.
func (s *Server) authenticate(r *http.Request) error {
	scheme, credential, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch scheme {
	case "":
		return errNoAuthentication
	case "Bearer":
		if s.authorize == nil || s.authorize(credential) != nil {
			return errInvalidBearer
		}
		return nil
	case "SharedKey", "SharedKeyLite":
		return s.checkSignature(r, scheme, credential)
	}
	return errAuthenticationFailed
}

func (s *Server) checkSignature(r *http.Request, scheme, credential string) error {
	account, signature, _ := strings.Cut(credential, ":")
	given, err := base64.StdEncoding.DecodeString(signature)
	if err != nil || account != s.account {
		return errAuthenticationFailed
	}
	date := r.Header.Get("x-ms-date")
	if date == "" {
		date = r.Header.Get("Date")
	}
	// Clients sign with the machine's clock whatever clock a test moves, so the real time decides about skew.
	sent, err := http.ParseTime(date)
	if err != nil || time.Since(sent).Abs() > maxSkew {
		return errAuthenticationFailed
	}
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(stringToSign(r, scheme, date, s.account)))
	if !hmac.Equal(mac.Sum(nil), given) {
		return errAuthenticationFailed
	}
	return nil
}

// stringToSign follows "Authorize with Shared Key": the path enters as it is encoded in the URI, and comp is the only
// query parameter of the Table service that is signed.
func stringToSign(r *http.Request, scheme, date, account string) string {
	resource := "/" + account + r.URL.EscapedPath()
	if r.URL.Path == "" {
		resource += "/"
	}
	if q := r.URL.Query(); q.Has("comp") {
		resource += "?comp=" + q.Get("comp")
	}
	if scheme == "SharedKeyLite" {
		return date + "\n" + resource
	}
	return strings.Join([]string{r.Method, r.Header.Get("Content-MD5"), r.Header.Get("Content-Type"), date, resource}, "\n")
}
