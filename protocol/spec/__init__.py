"""VM, host and image specifications: one definition for wire, cluster file and domain metadata.

Specs are strict: a field that this version does not know is an error that names it.
"""

from protocol.spec.affinity import Affinity
from protocol.spec.cluster import ClusterFile, parse_cluster_file
from protocol.spec.errors import SpecError
from protocol.spec.fields import Name, ObjectId, key_of
from protocol.spec.host import HostSpec, NumaNode
from protocol.spec.image import ImageFile, ImageManifest
from protocol.spec.memory import Memory
from protocol.spec.parse import decode_json, decode_spec, encode_spec
from protocol.spec.simulated import SimulatedVm
from protocol.spec.vm import CloudInit, Disk, KernelBoot, Nic, VmSpec

__all__ = [
    "Affinity",
    "CloudInit",
    "ClusterFile",
    "Disk",
    "HostSpec",
    "ImageFile",
    "ImageManifest",
    "KernelBoot",
    "Memory",
    "Name",
    "Nic",
    "NumaNode",
    "ObjectId",
    "SimulatedVm",
    "SpecError",
    "VmSpec",
    "decode_json",
    "decode_spec",
    "encode_spec",
    "key_of",
    "parse_cluster_file",
]
