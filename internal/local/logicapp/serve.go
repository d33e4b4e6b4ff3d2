package logicapp

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const apiVersion = "api-version=2016-10-01"

func (a *App) path(segments ...string) string {
	path := "/workflows/" + a.id
	for _, s := range segments {
		path += "/" + url.PathEscape(s)
	}
	return path
}

// signed is a URL whose holder may do what it permits: sp, sv and sig [securing].
func (a *App) signed(path, permission string) string {
	return a.base + path + "?" + apiVersion + "&sp=" + url.QueryEscape(permission) + "&sv=1.0&sig=" + a.signature(path, permission)
}

func (a *App) signature(path, permission string) string {
	mac := hmac.New(sha256.New, a.key)
	mac.Write([]byte(path + "\n" + permission))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (r *Run) callbackURL(action string) string {
	return r.app.signed(r.app.path("runs", r.ID, "actions", action, "run"), "/runs/"+r.ID+"/actions/"+action+"/run")
}

func (a *App) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /workflows/{id}/triggers/{trigger}/paths/invoke", a.invoke)
	mux.HandleFunc("POST /workflows/{id}/runs/{run}/actions/{action}/run", a.callback)
	mux.HandleFunc("GET /workflows/{id}/runs/{run}/response", a.result)
	return mux
}

// refusal is an error of the service. The codes are those people report; only 401
// for a signature together with a token is documented [securing].
type refusal struct {
	status        int
	code, message string
}

func (f refusal) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(f.status)
	_, _ = w.Write(encode(map[string]any{"error": map[string]any{"code": f.code, "message": f.message}}))
}

var (
	notSigned  = refusal{http.StatusUnauthorized, "DirectApiAuthorizationRequired", "The request must be authenticated."}
	badSigned  = refusal{http.StatusUnauthorized, "DirectApiInvalidAuthorizationScheme", "The authentication credentials are not valid."}
	twoSigned  = refusal{http.StatusUnauthorized, "DirectApiRequestHasMoreThanOneAuthorization", "The request has both a shared access signature and an Authorization header; use one."}
	mismatched = refusal{http.StatusForbidden, "MisMatchingOAuthClaims", "The claims of the token do not fit any policy."}
	disabled   = refusal{http.StatusNotFound, "WorkflowTriggerIsNotEnabled", "The workflow is disabled."}
	gone       = refusal{http.StatusNotFound, "WorkflowRunActionNotFound", "No action is waiting for this call."}
	noResponse = refusal{http.StatusBadGateway, "NoResponse", "The run ended without an answer."}
)

// bySignature lets in who holds a URL that was signed for this path.
func (a *App) bySignature(q *http.Request) *refusal {
	query := q.URL.Query()
	switch {
	case !query.Has("sig"):
		return &notSigned
	case q.Header.Get("Authorization") != "":
		return &twoSigned
	case query.Get("sv") != "1.0" || query.Get("api-version") == "",
		!hmac.Equal([]byte(query.Get("sig")), []byte(a.signature(q.URL.EscapedPath(), query.Get("sp")))):
		return &badSigned
	}
	return nil
}

func (a *App) authorize(q *http.Request) *refusal {
	if q.URL.Query().Has("sig") || q.Header.Get("Authorization") == "" {
		if f := a.bySignature(q); f != nil || a.workflow.sas {
			return f
		}
		return &badSigned // right, but the workflow takes none
	}
	token, isBearer := strings.CutPrefix(q.Header.Get("Authorization"), "Bearer ")
	if !isBearer || a.engine.Verify == nil {
		return &badSigned
	}
	claims, err := a.engine.Verify(q.Context(), token)
	if err != nil {
		return &badSigned
	}
	if !slices.ContainsFunc(a.workflow.policies, func(p policy) bool { return p.fits(claims) }) {
		return &mismatched
	}
	return nil
}

// invoke is the Request trigger.
func (a *App) invoke(w http.ResponseWriter, q *http.Request) {
	if q.PathValue("id") != a.id || q.PathValue("trigger") != a.workflow.trigger.name {
		http.NotFound(w, q)
		return
	}
	if f := a.authorize(q); f != nil {
		f.write(w)
		return
	}
	if !a.workflow.Enabled {
		disabled.write(w)
		return
	}
	outputs, err := received(q)
	if err == nil && a.workflow.trigger.validate {
		err = fitsSchema(outputs["body"], a.workflow.trigger.schema, "body")
	}
	if err != nil {
		refusal{http.StatusBadRequest, "TriggerInputSchemaMismatch", err.Error()}.write(w)
		return
	}
	r := a.begin(outputs)
	w.Header().Set("X-Ms-Workflow-Run-Id", r.ID)
	responds, later := a.workflow.responds()
	switch {
	case later: // the answer may take longer than a caller waits [actions, "Response"]
		a.pending(w, r)
	case !responds:
		w.WriteHeader(http.StatusAccepted)
	default:
		select {
		case <-r.answered:
		case <-r.done:
		case <-q.Context().Done():
			return
		}
		r.settle(w)
	}
}

// responds reports whether the workflow answers its caller, and whether it does so
// by a Response that is Asynchronous.
func (w *Workflow) responds() (yes, later bool) {
	var look func(map[string]*action)
	look = func(actions map[string]*action) {
		for a := range maps.Values(actions) {
			yes, later = yes || a.typ == "Response", later || a.async
			look(a.actions)
			look(a.others)
		}
	}
	look(w.actions)
	return yes, later
}

func (a *App) pending(w http.ResponseWriter, r *Run) {
	w.Header().Set("Location", a.signed(a.path("runs", r.ID, "response"), "/runs/"+r.ID+"/response/read"))
	w.Header().Set("Retry-After", "20")
	w.WriteHeader(http.StatusAccepted)
}

// result is where an asynchronous answer is asked for.
func (a *App) result(w http.ResponseWriter, q *http.Request) {
	r := a.run(q.PathValue("run"))
	switch f := a.bySignature(q); {
	case f != nil:
		f.write(w)
	case r == nil:
		http.NotFound(w, q)
	default:
		select {
		case <-r.answered:
			r.settle(w)
		case <-r.done:
			r.settle(w)
		default:
			a.pending(w, r)
		}
	}
}

// settle answers for a run that has an answer or is over.
func (r *Run) settle(w http.ResponseWriter) {
	r.mu.Lock()
	response := r.response
	r.mu.Unlock()
	if response == nil {
		noResponse.write(w)
		return
	}
	response.write(w)
}

// callback takes a call of listCallbackUrl(). That a run which is over answers
// with 404 is not documented; it has to be a refusal that no repeat can change.
func (a *App) callback(w http.ResponseWriter, q *http.Request) {
	if f := a.bySignature(q); f != nil {
		f.write(w)
		return
	}
	outputs, err := received(q)
	r := a.run(q.PathValue("run"))
	switch {
	case err != nil:
		refusal{http.StatusBadRequest, "InvalidRequestContent", err.Error()}.write(w)
	case r == nil || !r.called(q.PathValue("action"), outputs):
		gone.write(w)
	default:
		w.WriteHeader(http.StatusOK)
	}
}

// received are the headers and the body of a call as expressions see them. The
// Authorization header is not among them [securing].
func received(q *http.Request) (map[string]any, error) {
	content, err := io.ReadAll(io.LimitReader(q.Body, maxBody))
	if err != nil {
		return nil, err
	}
	body, err := read(content, q.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	headers := map[string]any{}
	for name := range q.Header {
		if name != "Authorization" {
			headers[name] = q.Header.Get(name)
		}
	}
	return map[string]any{"headers": headers, "body": body}, nil
}

func (a answer) write(w http.ResponseWriter) {
	content, contentType := written(a.body)
	if contentType != "" {
		w.Header().Set("Content-Type", contentType)
	}
	maps.Copy(w.Header(), a.headers)
	w.WriteHeader(a.status)
	_, _ = w.Write(content)
}

func number(v any) (int, bool) {
	n, isNumber := v.(json.Number)
	i, err := n.Int64()
	return int(i), isNumber && err == nil
}
