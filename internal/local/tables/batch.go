package tables

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// maxChanges is the number of operations an entity-group transaction may hold.
const maxChanges = 100

// change of a transaction, with what its answer needs.
type batchChange struct {
	call      *call
	contentID string
}

// errNotAChangeSet covers every way a body can fail to be one change set of well-formed HTTP requests.
var errNotAChangeSet = invalidInput("The batch request body is not a multipart/mixed message that holds one change set of HTTP requests.")

// transaction performs an entity-group transaction. A body that cannot be read is refused as a whole; from then on the
// answer is 202 whatever happens, and the outcome is in the parts: one for each change, or one for the change that
// failed ("Performing entity group transactions").
func (s *Server) transaction(c *call, requestID string) (*reply, error) {
	parts, err := readChangeSet(c.header.Get("Content-Type"), c.body)
	if err != nil {
		return nil, err
	}
	var changes []batchChange
	var mutations []mutation
	for i, p := range parts {
		if i == maxChanges { // the service names the last change it would have taken
			return s.failed(requestID, p.contentID, i-1, errBatchTooLong), nil
		}
		change, m, err := s.readChange(c, p)
		if err == nil {
			err = fits(mutations, changes, m, change)
		}
		if err != nil {
			return s.failed(requestID, p.contentID, i, err), nil
		}
		changes, mutations = append(changes, change), append(mutations, m)
	}
	op := Op{Kind: "transaction", Table: changes[0].call.res.table, PartitionKey: mutations[0].entity.pk, Operations: len(mutations)}
	return s.perform(op, func() (*reply, error) {
		after, failed, err := s.store.apply(op.Table, mutations, ticksOf(s.clock.Now()))
		if err != nil {
			return s.failed(requestID, changes[failed].contentID, failed, err), nil
		}
		var w changeSetWriter
		for i, change := range changes {
			w.add(change.call.changed(mutations[i], after[i]), change.contentID)
		}
		return w.reply(), nil
	})
}

// fits checks a change against those before it: one table, one partition, every entity once.
func fits(before []mutation, calls []batchChange, m mutation, change batchChange) error {
	if len(before) == 0 {
		return nil
	}
	if m.entity.pk != before[0].entity.pk || !strings.EqualFold(change.call.res.table, calls[0].call.res.table) {
		return errBatchPartitions
	}
	for _, other := range before {
		if other.entity.rk == m.entity.rk {
			return errBatchDuplicateRow
		}
	}
	return nil
}

// batchPart is one change as it stands in the body.
type batchPart struct {
	method    string
	url       *url.URL
	header    http.Header
	body      []byte
	contentID string
}

func (s *Server) readChange(outer *call, p batchPart) (batchChange, mutation, error) {
	change := batchChange{contentID: p.contentID}
	base := strings.TrimSuffix(outer.enc.base, outer.res.prefix)
	c, err := s.newCall(p.method, p.url, p.header, p.body, base)
	if err != nil {
		return change, mutation{}, err
	}
	change.call = c
	switch {
	case c.res.kind == resEntities && c.method == http.MethodPost:
	case c.res.kind == resEntity && (c.method == http.MethodPut || c.method == http.MethodPatch || c.method == "MERGE" || c.method == http.MethodDelete):
	default:
		return change, mutation{}, errNotImplemented // also a lone query, which the service would take
	}
	m, err := c.mutation()
	return change, m, err
}

// readChangeSet unpacks multipart/mixed in multipart/mixed. It stops reading one change past the limit.
func readChangeSet(contentType string, body []byte) ([]batchPart, error) {
	batch, err := multipartReader(contentType, body)
	if err != nil {
		return nil, err
	}
	outer, err := batch.NextRawPart()
	if err != nil {
		return nil, errNotAChangeSet
	}
	inner, err := io.ReadAll(outer)
	if err != nil {
		return nil, errNotAChangeSet
	}
	if _, err := batch.NextRawPart(); !errors.Is(err, io.EOF) {
		return nil, errNotAChangeSet
	}
	changeSet, err := multipartReader(outer.Header.Get("Content-Type"), inner)
	if err != nil {
		return nil, err
	}
	var parts []batchPart
	for len(parts) <= maxChanges {
		part, err := changeSet.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, errNotAChangeSet
		}
		p, err := readPart(part)
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	if len(parts) == 0 {
		return nil, errNotAChangeSet
	}
	return parts, nil
}

func multipartReader(contentType string, body []byte) (*multipart.Reader, error) {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || media != "multipart/mixed" || params["boundary"] == "" {
		return nil, errNotAChangeSet
	}
	return multipart.NewReader(bytes.NewReader(body), params["boundary"]), nil
}

// readPart reads an HTTP request out of a part. The body is the rest of the part: clients other than aztables leave
// out Content-Length here.
func readPart(part *multipart.Part) (batchPart, error) {
	media, _, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
	if err != nil || media != "application/http" || part.Header.Get("Content-Transfer-Encoding") != "binary" {
		return batchPart{}, errNotAChangeSet
	}
	buffered := bufio.NewReader(part)
	text := textproto.NewReader(buffered)
	line, err := text.ReadLine()
	if err != nil {
		return batchPart{}, errNotAChangeSet
	}
	words := strings.Split(line, " ")
	if len(words) != 3 || words[2] != "HTTP/1.1" {
		return batchPart{}, errNotAChangeSet
	}
	u, err := url.Parse(words[1])
	if err != nil {
		return batchPart{}, errNotAChangeSet
	}
	header, err := text.ReadMIMEHeader()
	if err != nil {
		return batchPart{}, errNotAChangeSet
	}
	body, err := io.ReadAll(buffered)
	if err != nil {
		return batchPart{}, errNotAChangeSet
	}
	if n := header.Get("Content-Length"); n != "" && n != strconv.Itoa(len(body)) {
		return batchPart{}, errNotAChangeSet
	}
	p := batchPart{method: words[0], url: u, header: http.Header(header), body: body, contentID: header.Get("Content-ID")}
	if p.contentID == "" {
		p.contentID = part.Header.Get("Content-ID")
	}
	return p, nil
}

// failed is the answer to a transaction of which nothing was done because of the change at the given position.
func (s *Server) failed(requestID, contentID string, at int, err error) *reply {
	e := asServiceError(err).atIndex(at)
	rep := &reply{status: e.status, header: http.Header{}, body: e.body(requestID, s.clock.Now())}
	rep.header.Set("Content-Type", minimalMetadata.contentType())
	var w changeSetWriter
	w.add(rep, contentID)
	return w.reply()
}

// changeSetWriter assembles the answer to a transaction. aztables reads the boundaries off the first line of each
// level, so nothing may precede them.
type changeSetWriter struct {
	boundary string
	buf      bytes.Buffer
}

func (w *changeSetWriter) add(rep *reply, contentID string) {
	if w.boundary == "" {
		w.boundary = "changesetresponse_" + uuid.NewString()
	}
	w.buf.WriteString("--" + w.boundary + "\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n")
	w.buf.WriteString("HTTP/1.1 " + strconv.Itoa(rep.status) + " " + http.StatusText(rep.status) + "\r\n")
	if contentID != "" {
		rep.header.Set("Content-ID", contentID)
	}
	rep.header.Set("X-Content-Type-Options", "nosniff")
	rep.header.Set("Cache-Control", "no-cache")
	rep.header.Set("DataServiceVersion", "3.0;")
	rep.header.Write(&w.buf) // a bytes.Buffer does not fail
	w.buf.WriteString("\r\n")
	w.buf.Write(rep.body)
	w.buf.WriteString("\r\n")
}

func (w *changeSetWriter) reply() *reply {
	boundary := "batchresponse_" + uuid.NewString()
	var b bytes.Buffer
	b.WriteString("--" + boundary + "\r\nContent-Type: multipart/mixed; boundary=" + w.boundary + "\r\n\r\n")
	b.Write(w.buf.Bytes())
	b.WriteString("--" + w.boundary + "--\r\n--" + boundary + "--\r\n")
	header := http.Header{"Content-Type": {"multipart/mixed; boundary=" + boundary}}
	return &reply{status: http.StatusAccepted, header: header, body: b.Bytes()}
}
