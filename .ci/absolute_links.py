"""Make the relative links of README.md absolute, for a page that is not beside the files.

$ python .ci/absolute_links.py URL REF > README.absolute.md

URL is the repository's address, REF a tag or a branch. A package index shows the README alone,
so the release workflow, which knows both, runs this before it builds. Nothing else needs it.
"""

import re
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]
LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")


def absolute(markdown, url, ref, project=PROJECT):
    """Return the text with links to files of the project as links into the repository.

    Raises
    ------
    FileNotFoundError
        A link leads to no file of the project.
    """

    def rewrite(link):
        target, hash_sign, anchor = link["target"].partition("#")
        if re.match(r"[a-z]+:", target) or not target:
            return link[0]
        if not (project / target).exists():
            raise FileNotFoundError(f"README.md links to {target}, which is not in the project")
        view = "raw" if link["image"] else "blob"
        place = f"{url.rstrip('/')}/{view}/{ref}/{target}{hash_sign}{anchor}"
        return f"{link['image']}[{link['text']}]({place})"

    return LINK.sub(rewrite, markdown)


if __name__ == "__main__":
    README = (PROJECT / "README.md").read_text(encoding="utf-8")
    sys.stdout.write(absolute(README, *sys.argv[1:]))
