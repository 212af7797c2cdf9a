-- Tables that a screen reader can follow: the first column heads its rows, every head has a scope.
-- Columns are as wide as they need to be, however long a line of the source is.

local function head(cell, scope)
  cell.attributes.scope = scope
  return cell
end

function Table(tbl)
  for i, spec in ipairs(tbl.colspecs) do
    tbl.colspecs[i] = { spec[1], nil }
  end
  for _, row in ipairs(tbl.head.rows) do
    for _, cell in ipairs(row.cells) do
      head(cell, "col")
    end
  end
  for _, body in ipairs(tbl.bodies) do
    body.row_head_columns = 1
    for _, row in ipairs(body.body) do
      head(row.cells[1], "row")
    end
  end
  return tbl
end
