package policy

import (
	"encoding/json"
	"errors"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"PT3H": 3 * time.Hour, "PT1H30M": 90 * time.Minute, "PT90M": 90 * time.Minute, "P1D": 24 * time.Hour, "P1W": 168 * time.Hour,
		"P1DT12H": 36 * time.Hour, "PT0S": 0, "PT1.5H": 90 * time.Minute, "PT0.25S": 250 * time.Millisecond, "PT5M": 5 * time.Minute, "P1W2DT3H4M5S": 219*time.Hour + 4*time.Minute + 5*time.Second,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "P", "PT", "P1DT", "3h", "PT3", "3H", "T3H", "pt3h", "PT3h", "PT3H ", " PT3H", "PT3H4", "PT-3H", "+PT3H", "-PT3H", "-P1D",
		"P1Y", "P1M", "P0Y", "P1Y2M", "P1YT1H", "PT1M1H", "PT1H1H", "PPT1H", "PTT1H", "PT1S1M", "PT1HT1M", "P1H", "PT1D", "PT.5H", "PT5.H", "PT1,5H",
		"PT9999999999H", "PT999999999H", "P99999W", "PT٣H", "PT1e3H", "PT0x1H", "P1W\x00",
	} {
		if got, err := ParseDuration(text); !errors.Is(err, ErrDuration) {
			t.Errorf("ParseDuration(%q) = %v, %v", text, got, err)
		}
	}
}

func TestDurationsComeBack(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "PT0S", time.Minute: "PT1M", 90 * time.Minute: "PT1H30M", 24 * time.Hour: "PT24H", 800 * time.Hour: "PT800H",
		time.Hour + time.Second: "PT1H1S", 1500 * time.Millisecond: "PT1.5S", -time.Hour: "-PT1H",
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("FormatDuration(%v) = %q, want %q", d, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(9999*time.Hour)).Draw(t, "duration"))
		if got, err := ParseDuration(FormatDuration(d)); err != nil || got != d {
			t.Fatalf("%v is written %q and read %v, %v", d, FormatDuration(d), got, err)
		}
	})
	var d Duration
	if err := json.Unmarshal([]byte(`"PT45M"`), &d); err != nil || d != Duration(45*time.Minute) {
		t.Errorf("from JSON: %v, %v", d, err)
	}
	if err := json.Unmarshal([]byte(`"45m"`), &d); !errors.Is(err, ErrDuration) || d != Duration(45*time.Minute) {
		t.Errorf("from bad JSON: %v, %v", d, err)
	}
}

func TestParseSource(t *testing.T) {
	for text, want := range map[string]string{
		"203.0.113.7": "203.0.113.7/32", "203.0.113.7/32": "203.0.113.7/32", "203.0.113.0/24": "203.0.113.0/24", "128.0.0.0/1": "128.0.0.0/1", "0.0.0.0/8": "0.0.0.0/8",
		"2001:DB8::1": "2001:db8::1/128", "2001:db8::/32": "2001:db8::/32", "::1": "::1/128",
		"::ffff:203.0.113.7": "203.0.113.7/32", "::ffff:203.0.113.0/120": "203.0.113.0/24", "::ffff:cb00:7107": "203.0.113.7/32",
	} {
		if got, err := ParseSource(text); err != nil || got != netip.MustParsePrefix(want) {
			t.Errorf("ParseSource(%q) = %v, %v", text, got, err)
		}
	}
	for sentinel, texts := range map[error][]string{
		ErrSourceAny:      {"*", "any", "Any", "ANY", "Internet", "internet", "0.0.0.0/0", "::/0", "0.0.0.0", "::", "0.0.0.0/32", "::/128", "::ffff:0.0.0.0/96", "::ffff:0.0.0.0"},
		ErrSourceHostBits: {"203.0.113.7/24", "2001:db8::1/64", "1.2.3.4/0", "::1/0", "::ffff:203.0.113.7/120"},
		ErrSourceSyntax: {"", " ", "office", "203.0.113", "203.0.113.7 ", " 203.0.113.7", "203.0.113.256", "203.0.113.007", "203.0.113.0/33", "203.0.113.0/-1", "203.0.113.0/024", "203.0.113.0/", "/24",
			"203.0.113.1-203.0.113.9", "203.0.113.7,203.0.113.8", "203.0.113.0/255.255.255.0", "fe80::1%eth0", "fe80::%eth0/64", "::ffff:1.2.3.4%e", "2001:db8::/129", "::ffff:0:0/90", "VirtualNetwork", "http://203.0.113.7"},
	} {
		for _, text := range texts {
			got, err := ParseSource(text)
			if !errors.Is(err, sentinel) || got.IsValid() {
				t.Errorf("ParseSource(%q) = %v, %v, want %v", text, got, err, sentinel)
			}
			for _, other := range []error{ErrSourceAny, ErrSourceHostBits, ErrSourceSyntax} {
				if other != sentinel && errors.Is(err, other) {
					t.Errorf("ParseSource(%q) is %v as well", text, other)
				}
			}
		}
	}
}

func TestParsePort(t *testing.T) {
	for text, want := range map[string]Port{"22": {22, TCP}, "22/TCP": {22, TCP}, "53/udp": {53, UDP}, "1/*": {1, AnyProtocol}, "65535/Tcp": {65535, TCP}} {
		got, err := ParsePort(text)
		if err != nil || got != want {
			t.Errorf("ParsePort(%q) = %v, %v", text, got, err)
		}
		if again, err := ParsePort(got.String()); err != nil || again != got {
			t.Errorf("%v does not come back from %q", got, got.String())
		}
	}
	for _, text := range []string{"", "/", "22/", "/TCP", "0", "65536", "-1", "+22", "022", "22 ", "0x16", "2_2", "ssh", "22/ICMP", "22/any", "22/TCP/UDP", "20-25", "99999999999999999999"} {
		if got, err := ParsePort(text); !errors.Is(err, ErrPort) {
			t.Errorf("ParsePort(%q) = %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]Protocol{"TCP": TCP, "tcp": TCP, "Udp": UDP, "*": AnyProtocol} {
		if got, err := ParseProtocol(text); err != nil || got != want {
			t.Errorf("ParseProtocol(%q) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "any", "ICMP", "TCP ", "**"} {
		if got, err := ParseProtocol(text); !errors.Is(err, ErrPort) {
			t.Errorf("ParseProtocol(%q) = %v, %v", text, got, err)
		}
	}
}
