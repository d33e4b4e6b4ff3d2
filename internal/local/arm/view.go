package arm

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// view is what the evaluator knows of a rule.
type view struct {
	priority    int
	inbound     bool
	allow       bool
	protocol    string // lower case, "*" for any
	source      half
	destination half
}

// half is one end of a rule: it fits an address in any of addresses or on a NIC
// in any of asgs, at a port in any of ports.
type half struct {
	addresses []address
	asgs      []string // keys
	ports     []portRange
}

// prefixes counts what Azure's limit on addresses counts.
func (h *half) prefixes() int {
	n := 0
	for _, a := range h.addresses {
		if a.prefix.IsValid() {
			n++
		}
	}
	return n
}

// address is a range of addresses, or a tag when prefix is not valid. The tag is
// lower case; "*" is any address.
type address struct {
	prefix netip.Prefix
	tag    string
}

type portRange struct{ from, to uint16 }

var anyPort = portRange{0, 65535}

// serviceTags are the service tags a rule may name, without the regional suffix.
// Azure publishes more; a rule in a topology or a test needs no others. An unknown
// word is refused: Azure does so for "any" and for "AzureBastionSubnet" (ernest#473
// and public reports).
var serviceTags = func() map[string]bool {
	known := map[string]bool{}
	for _, tag := range strings.Fields(`ActionGroup ApiManagement AppConfiguration ApplicationInsightsAvailability
		AppService AppServiceManagement AzureActiveDirectory AzureActiveDirectoryDomainServices AzureAdvancedThreatProtection
		AzureArcInfrastructure AzureBackup AzureBotService AzureCloud AzureCognitiveSearch AzureConnectors AzureContainerRegistry
		AzureCosmosDB AzureDatabricks AzureDevOps AzureDigitalTwins AzureEventGrid AzureFrontDoor AzureInformationProtection
		AzureIoTHub AzureKeyVault AzureLoadBalancer AzureMachineLearning AzureMonitor AzurePortal AzureResourceManager
		AzureSiteRecovery AzureStack AzureTrafficManager BatchNodeManagement CognitiveServicesManagement DataFactory
		DataFactoryManagement EventHub GatewayManager GuestAndHybridManagement HDInsight Internet LogicApps
		LogicAppsManagement MicrosoftCloudAppSecurity MicrosoftContainerRegistry MicrosoftDefenderForEndpoint PowerBI
		PowerPlatformInfra PowerQueryOnline ServiceBus ServiceFabric Sql SqlManagement Storage StorageSyncService
		VirtualNetwork WindowsAdminCenter WindowsVirtualDesktop`) {
		known[strings.ToLower(tag)] = true
	}
	return known
}()

var (
	bareNumber = regexp.MustCompile(`^[0-9]{1,10}$`)
	regional   = regexp.MustCompile(`^[a-z0-9]+$`)
)

// readAddress reads what Azure takes as an address prefix. Two things surprise:
//   - A bare number is taken (azure-cli's recorded test sends "789"), presumably
//     because .NET reads it as an IPv4 address in one part, here 0.0.3.21.
//   - A range with bits set behind its mask is refused, not rounded
//     (azure-powershell#4557: 50.206.209.68/27).
func readAddress(text string) (address, bool) {
	if text == "*" {
		return address{tag: "*"}, true
	}
	if bareNumber.MatchString(text) {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return address{}, false
		}
		a := netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
		return address{prefix: netip.PrefixFrom(a, 32)}, true
	}
	if a, err := netip.ParseAddr(text); err == nil {
		if a.Zone() != "" {
			return address{}, false
		}
		a = a.Unmap()
		return address{prefix: netip.PrefixFrom(a, a.BitLen())}, true
	}
	if p, err := netip.ParsePrefix(text); err == nil {
		return address{prefix: p}, p == p.Masked() && !p.Addr().Is4In6()
	}
	tag := strings.ToLower(text)
	service, region, inRegion := strings.Cut(tag, ".")
	return address{tag: tag}, serviceTags[service] && (!inRegion || regional.MatchString(region))
}

func readPortRange(text string) (portRange, bool) {
	if text == "*" {
		return anyPort, true
	}
	low, high, isRange := strings.Cut(text, "-")
	from, err := port(low)
	if err != nil {
		return portRange{}, false
	}
	if !isRange {
		return portRange{from, from}, true
	}
	to, err := port(high)
	return portRange{from, to}, err == nil && from <= to
}

// port reads digits only; ParseUint refuses the signs that Atoi takes.
func port(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	return uint16(n), err
}
