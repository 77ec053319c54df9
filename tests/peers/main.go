// An HTTP server on Go's net/http that writes down each record before it answers.
//
//	server ADDRESS:PORT LOG [CERTIFICATE KEY]
//
// A line of LOG: the digest of the header, the digest of the body, the body's sequence number.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
)

type record struct {
	Metadata struct {
		Digest string `json:"digest"`
	} `json:"metadata"`
	Seq int64 `json:"seq"`
}

func main() {
	file, err := os.OpenFile(os.Args[2], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	serve := func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			var record record
			body, err := io.ReadAll(r.Body)
			if err == nil {
				err = json.Unmarshal(body, &record)
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			line := fmt.Sprintf("%s %s %d\n", r.Header.Get("aerospike-digest"), record.Metadata.Digest, record.Seq)
			// One write of a file in append mode: lines of several goroutines do not mix.
			if _, err := io.WriteString(file, line); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
		}
		io.WriteString(w, "ok")
	}
	server := &http.Server{Addr: os.Args[1], Handler: http.HandlerFunc(serve)}
	if len(os.Args) > 4 {
		log.Fatal(server.ListenAndServeTLS(os.Args[3], os.Args[4]))
	}
	log.Fatal(server.ListenAndServe())
}
