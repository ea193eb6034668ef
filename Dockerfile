# The image of Bridge: the program, certificates and time zones, and nothing else; no shell, no root. docs/installing.md says how to run it.
#
#	docker build -t bridge .
#
# The repository is not in the context, so a release names its version: --build-arg VERSION=v1.2.3, and so COMMIT and DATE.
ARG GO_IMAGE=docker.io/library/golang:1.26-bookworm
ARG BASE_IMAGE=gcr.io/distroless/static-debian12:nonroot

FROM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=
ARG COMMIT=
ARG DATE=
RUN build=github.com/webhook-bridge/bridge/internal/build && \
    CGO_ENABLED=0 go build -trimpath -o /image/usr/bin/bridge \
        -ldflags="-s -w -X $build.version=$VERSION -X $build.commit=$COMMIT -X $build.date=$DATE" ./cmd/bridge && \
    mkdir -p /image/etc/bridge /image/var/lib/bridge && \
    chown 65532:65532 /image/var/lib/bridge

FROM ${BASE_IMAGE}
COPY --from=build /image/ /
# Only the journal's folder is written: run it with a read-only root.
USER 65532:65532
WORKDIR /var/lib/bridge
VOLUME ["/var/lib/bridge"]
# webhooks, health and metrics, gRPC, and the operators' interface.
EXPOSE 8080 8081 9090 8082
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 \
    CMD ["/usr/bin/bridge", "health", "-c", "/etc/bridge/bridge.yaml"]
ENTRYPOINT ["/usr/bin/bridge"]
CMD ["serve", "-c", "/etc/bridge/bridge.yaml"]
