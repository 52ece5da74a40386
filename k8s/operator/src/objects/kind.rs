//! The kinds of objects that the operator makes.

use kube::core::{ApiResource, GroupVersionKind};

macro_rules! kinds {
    ($($kind:ident $group:literal $version:literal $plural:literal;)*) => {
        /// The kinds of objects that the operator makes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $(#[doc = stringify!($kind)] $kind,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// As manifests write it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => stringify!($kind)),* }
            }

            /// Its API group; empty for the core.
            #[must_use]
            pub fn group(self) -> &'static str {
                match self { $(Self::$kind => $group),* }
            }

            fn version(self) -> &'static str {
                match self { $(Self::$kind => $version),* }
            }

            /// As addresses and rights write it.
            #[must_use]
            pub fn plural(self) -> &'static str {
                match self { $(Self::$kind => $plural),* }
            }
        }
    };
}

// In the order in which they are applied: what a pod mounts is there before the pod.
kinds! {
    ServiceAccount "" "v1" "serviceaccounts";
    Role "rbac.authorization.k8s.io" "v1" "roles";
    RoleBinding "rbac.authorization.k8s.io" "v1" "rolebindings";
    ConfigMap "" "v1" "configmaps";
    Service "" "v1" "services";
    Certificate "cert-manager.io" "v1" "certificates";
    NetworkPolicy "networking.k8s.io" "v1" "networkpolicies";
    PodDisruptionBudget "policy" "v1" "poddisruptionbudgets";
    Deployment "apps" "v1" "deployments";
    StatefulSet "apps" "v1" "statefulsets";
    ServiceMonitor "monitoring.coreos.com" "v1" "servicemonitors";
}

impl Kind {
    /// Whether Kubernetes knows it only where somebody has installed more.
    #[must_use]
    pub fn is_foreign(self) -> bool {
        matches!(self, Self::Certificate | Self::ServiceMonitor)
    }

    /// `group/version`, or the version alone in the core.
    #[must_use]
    pub fn api_version(self) -> String {
        match self.group() {
            "" => self.version().to_owned(),
            group => format!("{group}/{}", self.version()),
        }
    }

    /// What the client needs to ask for it.
    #[must_use]
    pub fn resource(self) -> ApiResource {
        let gvk = GroupVersionKind::gvk(self.group(), self.version(), self.name());
        ApiResource::from_gvk_with_plural(&gvk, self.plural())
    }
}
