package app_test

import (
	"flag"
	"io"
	"log/slog"
	"os"
	"testing"

	"jitgate/internal/app"
)

var update = flag.Bool("update", false, "write docs/openapi.yaml anew")

// TestOpenAPIDocument: the document in docs is the one the code makes.
func TestOpenAPIDocument(t *testing.T) {
	settings, _ := example(t)
	settings["FUNCTIONS_CUSTOMHANDLER_PORT"] = "1"
	settings["JITGATE_TABLES"] = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;TableEndpoint=http://127.0.0.1:1/a;"
	c, err := app.Load(settings)
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(c, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	made, err := a.API.OpenAPI().YAML()
	if err != nil {
		t.Fatal(err)
	}
	const file = "../../docs/openapi.yaml"
	if *update {
		if err := os.WriteFile(file, made, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(file)
	if err != nil || string(kept) != string(made) {
		t.Errorf("docs/openapi.yaml is stale; run 'make docs' (%v)", err)
	}
}
