package arm

// defaultRules are the six rules that every NSG ends with; they cannot be removed
// (network-security-groups-overview, and azure-cli's recorded test for the texts).
var defaultRules = []struct {
	name, description string
	view              view
	source, dest      string
}{
	{"AllowVnetInBound", "Allow inbound traffic from all VMs in VNET", fallback(65000, true, true, "VirtualNetwork", "VirtualNetwork"), "VirtualNetwork", "VirtualNetwork"},
	{"AllowAzureLoadBalancerInBound", "Allow inbound traffic from azure load balancer", fallback(65001, true, true, "AzureLoadBalancer", "*"), "AzureLoadBalancer", "*"},
	{"DenyAllInBound", "Deny all inbound traffic", fallback(65500, true, false, "*", "*"), "*", "*"},
	{"AllowVnetOutBound", "Allow outbound traffic from all VMs to all VMs in VNET", fallback(65000, false, true, "VirtualNetwork", "VirtualNetwork"), "VirtualNetwork", "VirtualNetwork"},
	{"AllowInternetOutBound", "Allow outbound traffic from all VMs to Internet", fallback(65001, false, true, "*", "Internet"), "*", "Internet"},
	{"DenyAllOutBound", "Deny all outbound traffic", fallback(65500, false, false, "*", "*"), "*", "*"},
}

func fallback(priority int, inbound, allow bool, source, destination string) view {
	end := func(text string) half {
		a, _ := readAddress(text)
		return half{addresses: []address{a}, ports: []portRange{anyPort}}
	}
	return view{priority: priority, inbound: inbound, allow: allow, protocol: "*", source: end(source), destination: end(destination)}
}

// defaultsJSON renders the default rules of one NSG.
func (n *nsg) defaultsJSON() []any {
	word := func(yes bool, a, b string) string {
		if yes {
			return a
		}
		return b
	}
	var out []any
	for _, d := range defaultRules {
		out = append(out, map[string]any{
			"id": n.id + "/defaultSecurityRules/" + d.name, "name": d.name, "type": defaultRuleType, "etag": n.etag,
			"properties": map[string]any{
				"provisioningState": "Succeeded", "description": d.description, "protocol": "*",
				"sourcePortRange": "*", "destinationPortRange": "*",
				"sourceAddressPrefix": d.source, "destinationAddressPrefix": d.dest,
				"access":                word(d.view.allow, "Allow", "Deny"),
				"priority":              d.view.priority,
				"direction":             word(d.view.inbound, "Inbound", "Outbound"),
				"sourcePortRanges":      []any{},
				"destinationPortRanges": []any{}, "sourceAddressPrefixes": []any{}, "destinationAddressPrefixes": []any{},
			}})
	}
	return out
}
