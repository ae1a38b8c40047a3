"""Products as their providers deliver them: a folder or an archive with a file per band, and metadata beside them.

One more kind is a module with a class that follows `Product`, and a line in `PRODUCTS`.
"""

from geoseg.scenes.products.find import find_product, find_products
from geoseg.scenes.products.product import PRODUCTS, FoundProduct, Product

__all__ = ["PRODUCTS", "FoundProduct", "Product", "find_product", "find_products"]
