"""The catalogue of this Airflow: headnode's systems, and those in the folders of ``[headnode] sites_folder``."""

from __future__ import annotations

from airflow.sdk.configuration import conf

from headnode.sites.catalogue import Catalogue, split_folders


def load_catalogue() -> Catalogue:
    """Return the catalogue with the user's own systems, which win over headnode's of the same name.

    Raises:
        JobSpecError: what ``[headnode] sites_folder`` names is no folder.
    """
    return Catalogue(split_folders(conf.get("headnode", "sites_folder", fallback="") or ""))
