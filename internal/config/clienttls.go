package config

import configv1 "github.com/webhook-bridge/bridge/gen/bridge/config/v1"

// ClientTLS configures the TLS connections of a sink. All files are PEM.
type ClientTLS struct {
	CAFile, CertFile, KeyFile, ServerName string
}

// clientTLS returns nil for nil: the sink's own default.
func clientTLS(file *configv1.ClientTLS) *ClientTLS {
	if file == nil {
		return nil
	}
	return &ClientTLS{CAFile: file.GetCaFile(), CertFile: file.GetCertFile(), KeyFile: file.GetKeyFile(), ServerName: file.GetServerName()}
}
