"""The page that asks a browser for the token."""

from http import HTTPStatus

from starlette.responses import HTMLResponse

from lookalike_search.reports.page import Page
from lookalike_search.serving.pages.site import PAGE_POLICY
from lookalike_search.serving.static_files import static_address


def login_page(*, is_wrong: bool = False) -> HTMLResponse:
    """Returns the page, after a wrong token with a note."""
    status = HTTPStatus.UNAUTHORIZED if is_wrong else HTTPStatus.OK
    page = Page("served/login.html", view="", asset=static_address, is_wrong=is_wrong)
    return HTMLResponse(page.html(), status_code=status, headers={"Content-Security-Policy": PAGE_POLICY})
