package web

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

// pollAfter is what Retry-After says while something is under way, in seconds. A
// write to an NSG takes about three.
const pollAfter = 2

// Answer is a body with the headers of the asynchronous pattern that Logic Apps
// follow by themselves: 202 with Location and Retry-After, then 200.
type Answer[T any] struct {
	Status     int
	Location   string `header:"Location"`
	RetryAfter string `header:"Retry-After" doc:"Seconds."` // a number would be sent as 0 where it has no place
	Body       T
}

// Settled answers 200: nothing is under way.
func Settled[T any](body T) *Answer[T] { return &Answer[T]{Status: http.StatusOK, Body: body} }

// UnderWay answers 202 and says where to ask again. The path is not escaped yet.
func UnderWay[T any](ctx context.Context, path string, body T) *Answer[T] {
	location := url.URL{Path: path}
	return &Answer[T]{Status: http.StatusAccepted, Location: info(ctx).base + location.EscapedPath(),
		RetryAfter: strconv.Itoa(pollAfter), Body: body}
}
