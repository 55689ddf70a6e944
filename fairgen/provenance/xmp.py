"""IPTC's word on a picture, in XMP: the type of its digital source."""

from functools import cache
from importlib import metadata
from xml.etree import ElementTree

_NEWSCODES = "http://cv.iptc.org/newscodes/digitalsourcetype"
TRAINED_ALGORITHMIC_MEDIA = f"{_NEWSCODES}/trainedAlgorithmicMedia"
COMPOSITE = f"{_NEWSCODES}/compositeWithTrainedAlgorithmicMedia"
_X, _RDF = "adobe:ns:meta/", "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_IPTC, _XMP = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "http://ns.adobe.com/xap/1.0/"
_SOURCE_TYPE = f"{{{_IPTC}}}DigitalSourceType"
_PREFIXES = {"x": _X, "rdf": _RDF, "Iptc4xmpExt": _IPTC, "xmp": _XMP}


@cache
def version() -> str:
    """Return the version of FairGen that is installed."""
    return metadata.version("fairgen")


def source_type(is_edit: bool) -> str:
    """Return IPTC's word for a picture that a trained model has made, or edited."""
    return COMPOSITE if is_edit else TRAINED_ALGORITHMIC_MEDIA


def xmp_packet(digital_source: str) -> str:
    """Return the XMP of a picture of this digital source type."""
    for prefix, namespace in _PREFIXES.items():
        ElementTree.register_namespace(prefix, namespace)
    root = ElementTree.Element(f"{{{_X}}}xmpmeta")
    rdf = ElementTree.SubElement(root, f"{{{_RDF}}}RDF")
    said = ElementTree.SubElement(rdf, f"{{{_RDF}}}Description", {f"{{{_RDF}}}about": ""})
    ElementTree.SubElement(said, _SOURCE_TYPE).text = digital_source
    ElementTree.SubElement(said, f"{{{_XMP}}}CreatorTool").text = f"FairGen {version()}"
    body = ElementTree.tostring(root, encoding="unicode")
    begin = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    return f'{begin}{body}<?xpacket end="w"?>'


def digital_source_type(packet: str | bytes) -> str | None:
    """Return the type of digital source that an XMP packet of any tool names, None for none.

    XMP writes a simple property as an element, as its resource, or as an attribute. Raises
    ValueError for what is no XML, or declares entities.
    """
    from defusedxml import ElementTree as Untrusted
    from defusedxml.common import DefusedXmlException

    content = packet if isinstance(packet, bytes) else packet.encode()
    try:
        root = Untrusted.fromstring(content.strip(b"\0 \t\r\n"), forbid_dtd=True)
    except (ElementTree.ParseError, DefusedXmlException) as error:
        raise ValueError(f"xmp: got a packet that cannot be read: {error}") from error
    for element in root.iter():
        if element.tag == _SOURCE_TYPE:
            named = element.get(f"{{{_RDF}}}resource") or element.text
            return named.strip() if named else None
        if _SOURCE_TYPE in element.attrib:
            return element.get(_SOURCE_TYPE)
    return None
