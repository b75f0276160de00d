// Asks an endpoint picker where requests should go, as Envoy does (ext_proc): bodies come on standard input, one a line; for each the
// chosen address and port are written, or "refused STATUS". Built within a checkout of llm-d-router, whose modules it uses.
//
//	pick ADDRESS
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extproc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const chosen = "x-gateway-destination-endpoint"

func header(name, value string) *core.HeaderValue {
	return &core.HeaderValue{Key: name, RawValue: []byte(value)}
}

// What one request of a stream's answers says: the endpoint, or why there is none.
func verdict(answer *extproc.ProcessingResponse) string {
	if refused := answer.GetImmediateResponse(); refused != nil {
		return fmt.Sprintf("refused %d", refused.GetStatus().GetCode())
	}
	for _, common := range []*extproc.CommonResponse{answer.GetRequestHeaders().GetResponse(), answer.GetRequestBody().GetResponse()} {
		for _, set := range common.GetHeaderMutation().GetSetHeaders() {
			if set.GetHeader().GetKey() == chosen {
				return string(set.GetHeader().GetRawValue()) + set.GetHeader().GetValue()
			}
		}
	}
	return ""
}

func pick(client extproc.ExternalProcessorClient, body []byte) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	stream, err := client.Process(ctx)
	if err != nil {
		return "", err
	}
	headers := &core.HeaderMap{Headers: []*core.HeaderValue{header(":method", "POST"), header(":path", "/v1/chat/completions"),
		header("content-type", "application/json"), header("x-request-id", fmt.Sprint(time.Now().UnixNano()))}}
	requests := []*extproc.ProcessingRequest{
		{Request: &extproc.ProcessingRequest_RequestHeaders{RequestHeaders: &extproc.HttpHeaders{Headers: headers}}},
		{Request: &extproc.ProcessingRequest_RequestBody{RequestBody: &extproc.HttpBody{Body: body, EndOfStream: true}}},
	}
	for _, request := range requests {
		if err := stream.Send(request); err != nil {
			return "", err
		}
	}
	for {
		answer, err := stream.Recv()
		if err != nil {
			return "", err
		}
		if found := verdict(answer); found != "" {
			return found, nil
		}
	}
}

func main() {
	connection, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	client := extproc.NewExternalProcessorClient(connection)
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		found, err := pick(client, lines.Bytes())
		if err != nil {
			found = "failed " + err.Error()
		}
		fmt.Println(found)
	}
}
