package notify

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// keySize is the length of a key in bytes: AES-256.
const keySize = 32

// ErrSealed: a sealed text cannot be opened.
var ErrSealed = errors.New("the sealed text cannot be opened")

// Keys seal what has to be stored and must not be read there, such as the callback
// URL of a waiting workflow. They may be used by several goroutines.
type Keys struct{ all []key }

// key is what is derived from one configured key: each use has its own, so that
// no use can be played against another.
type key struct {
	id   string // names the key without telling it
	aead cipher.AEAD
	mac  []byte
}

// NewKeys takes keys of 32 random bytes in standard base64 ("openssl rand -base64
// 32"). The first one seals, all of them open: to change the key put a new one in
// front, and drop the old one when nothing sealed with it is left. The errors
// count keys from one and never show them.
func NewKeys(texts ...string) (*Keys, error) {
	if len(texts) == 0 {
		return nil, errors.New("no key to seal with; make one with 'openssl rand -base64 32'")
	}
	var keys Keys
	var faults []error
	for i, text := range texts {
		secret, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
		if err != nil || len(secret) != keySize {
			faults = append(faults, fmt.Errorf("key %d: need %d bytes in base64; make one with 'openssl rand -base64 32'", i+1, keySize))
			continue
		}
		k, err := derive(secret)
		if err == nil && keys.find(k.id) != nil {
			err = errors.New("is there twice")
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("key %d: %w", i+1, err))
			continue
		}
		keys.all = append(keys.all, k)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return &keys, nil
}

func derive(secret []byte) (key, error) {
	var parts [3][]byte
	for i, use := range []string{"id", "seal", "hash"} {
		var err error
		if parts[i], err = hkdf.Key(sha256.New, secret, nil, "jitgate notify v1 "+use, keySize); err != nil {
			return key{}, err
		}
	}
	block, err := aes.NewCipher(parts[1])
	if err != nil {
		return key{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return key{id: hex.EncodeToString(parts[0][:4]), aead: aead, mac: parts[2]}, err
}

func (k *Keys) find(id string) *key {
	for i := range k.all {
		if k.all[i].id == id {
			return &k.all[i]
		}
	}
	return nil
}

// Seal encrypts the text for the request of that id: under another id it does not
// open, so nobody who can write to the store can make one request call back where
// another one belongs. The result is "v1.", the key's id, a full stop and base64.
func (k *Keys) Seal(text, requestID string) string {
	first := k.all[0]
	head := "v1." + first.id + "."
	return head + base64.RawURLEncoding.EncodeToString(first.aead.Seal(nil, nil, []byte(text), []byte(head+requestID)))
}

// Open undoes Seal. All errors are ErrSealed.
func (k *Keys) Open(sealed, requestID string) (string, error) {
	version, rest, _ := strings.Cut(sealed, ".")
	id, text, found := strings.Cut(rest, ".")
	if version != "v1" || !found {
		return "", fmt.Errorf("%w: it is not of the form v1.key.text", ErrSealed)
	}
	with := k.find(id)
	if with == nil {
		return "", fmt.Errorf("%w: its key is not configured; add the earlier key after the current one", ErrSealed)
	}
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return "", fmt.Errorf("%w: it is damaged", ErrSealed)
	}
	plain, err := with.aead.Open(nil, nil, data, []byte("v1."+id+"."+requestID))
	if err != nil {
		return "", fmt.Errorf("%w: it was altered or belongs to another request", ErrSealed)
	}
	return string(plain), nil
}

// Hash stands for a URL where one has to be found again without being stored. It
// is keyed, so a guessed URL cannot be tried against the store.
func (k *Keys) Hash(url string) string { return k.all[0].hash(url) }

// Hashes are the values that Hash has given or may have given for the URL under
// any of the keys, the current one first: look for all of them, or what was stored
// before the keys changed is not found.
func (k *Keys) Hashes(url string) []string {
	var all []string
	for _, one := range k.all {
		all = append(all, one.hash(url))
	}
	return all
}

func (k key) hash(url string) string {
	mac := hmac.New(sha256.New, k.mac)
	mac.Write([]byte(url))
	return hex.EncodeToString(mac.Sum(nil))
}
