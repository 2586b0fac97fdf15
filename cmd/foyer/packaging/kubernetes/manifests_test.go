package kubernetes

import (
	"os"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

// manifests are the objects of the files.
type manifests struct {
	Namespace           core.Namespace
	ConfigMap           core.ConfigMap
	Deployment          apps.Deployment
	Service             core.Service
	PodDisruptionBudget policy.PodDisruptionBudget
	Autoscaler          autoscaling.HorizontalPodAutoscaler
	secrets             map[string]core.Secret
}

// read decodes the files. An unknown field is an error.
func read(t *testing.T) manifests {
	t.Helper()
	m := manifests{secrets: map[string]core.Secret{}}
	for _, name := range []string{"foyer.yaml", "secrets.yaml"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for document := range strings.SplitSeq(string(text), "\n---\n") {
			m.add(t, document)
		}
	}
	return m
}

func (m *manifests) add(t *testing.T, document string) {
	t.Helper()
	var kind struct{ APIVersion, Kind string }
	if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
		t.Fatal(err)
	}
	var secret core.Secret
	object, known := map[string]any{
		"v1/Namespace": &m.Namespace, "v1/ConfigMap": &m.ConfigMap, "v1/Service": &m.Service, "v1/Secret": &secret,
		"apps/v1/Deployment": &m.Deployment, "policy/v1/PodDisruptionBudget": &m.PodDisruptionBudget,
		"autoscaling/v2/HorizontalPodAutoscaler": &m.Autoscaler,
	}[kind.APIVersion+"/"+kind.Kind]
	if !known {
		t.Fatalf("unknown kind %+v", kind)
	}
	if err := yaml.UnmarshalStrict([]byte(document), object); err != nil {
		t.Fatalf("%+v: %v", kind, err)
	}
	if secret.Name != "" {
		m.secrets[secret.Name] = secret
	}
}

func (m *manifests) pod() core.PodSpec         { return m.Deployment.Spec.Template.Spec }
func (m *manifests) container() core.Container { return m.pod().Containers[0] }

// The manifests fit each other, and the pod the level "restricted" of the Pod Security Standards.
func TestManifests(t *testing.T) {
	m := read(t)
	pod, c := m.pod(), m.container()
	labels := m.Deployment.Spec.Template.Labels["app"]
	selected := []string{m.Service.Spec.Selector["app"], m.Deployment.Spec.Selector.MatchLabels["app"], m.PodDisruptionBudget.Spec.Selector.MatchLabels["app"]}
	for _, app := range selected {
		if app != labels {
			t.Errorf("%q is selected, and the pods are %q", app, labels)
		}
	}
	own, all := c.SecurityContext, pod.SecurityContext
	for what, ok := range map[string]bool{
		"enforced":               m.Namespace.Labels["pod-security.kubernetes.io/enforce"] == "restricted",
		"not root":               *all.RunAsNonRoot && *all.RunAsUser == user && *all.RunAsGroup == user && *all.FSGroup == user,
		"seccomp":                all.SeccompProfile.Type == core.SeccompProfileTypeRuntimeDefault,
		"no privileges":          !*own.AllowPrivilegeEscalation && own.Privileged == nil && own.Capabilities.Drop[0] == "ALL" && own.Capabilities.Add == nil,
		"read-only":              *own.ReadOnlyRootFilesystem,
		"no token":               !*pod.AutomountServiceAccountToken,
		"no variables":           !*pod.EnableServiceLinks,
		"more than needed":       *m.Autoscaler.Spec.MinReplicas > int32(m.PodDisruptionBudget.Spec.MinAvailable.IntValue()),
		"scaled":                 m.Autoscaler.Spec.ScaleTargetRef.Name == m.Deployment.Name && m.Deployment.Spec.Replicas == nil,
		"spread":                 pod.TopologySpreadConstraints[0].LabelSelector.MatchLabels["app"] == labels,
		"port":                   m.Service.Spec.Ports[0].TargetPort.StrVal == c.Ports[0].Name,
		"time to drain":          *pod.TerminationGracePeriodSeconds >= 5+20+5,
		"drain of that length":   strings.Contains(m.ConfigMap.Data["foyer.toml"], `drain-timeout = "20s"`) && strings.Contains(m.ConfigMap.Data["foyer.toml"], `drain-delay = "5s"`),
		"one namespace":          m.ConfigMap.Namespace == m.Namespace.Name && m.Deployment.Namespace == m.Namespace.Name && m.Service.Namespace == m.Namespace.Name,
		"probes name their port": c.ReadinessProbe.HTTPGet.Port.StrVal == c.Ports[1].Name && c.LivenessProbe.HTTPGet.Port.StrVal == c.Ports[1].Name,
	} {
		if !ok {
			t.Errorf("%s: not so", what)
		}
	}
}
